// The Python module s3k_ros.geometry._native: the inner loops of s3k_ros.geometry and
// s3k_ros.perception, whose Python files document what they do.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <new>
#include <type_traits>
#include <vector>

#include "loops.h"

namespace {

// The arrays that a function was called with, given back at the end, however it comes.
class Arguments {
 public:
  Arguments(PyObject* const* given, Py_ssize_t count) : given_(given), left_(count) {}
  ~Arguments() {
    while (count_) PyBuffer_Release(&buffers_[--count_]);
  }

  // The next one, an array of this shape; nullptr with an exception set when it is another.
  template <typename T>
  T* next(std::initializer_list<Py_ssize_t> shape) {
    const bool writable = !std::is_const<T>::value;
    const Py_buffer* b = buffer(writable ? PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE : PyBUF_C_CONTIGUOUS,
                                shape, sizeof(T));
    return b ? static_cast<T*>(b->buf) : nullptr;
  }
  Strided strided(std::initializer_list<Py_ssize_t> shape, Py_ssize_t item = sizeof(double)) {
    Strided s{};
    if (const Py_buffer* b = buffer(PyBUF_STRIDES, shape, item)) {
      s.data = static_cast<const char*>(b->buf);
      std::copy_n(b->strides, b->ndim, s.stride);
    }
    return s;
  }
  double number() {
    if (!expect()) return 0.0;
    const double value = PyFloat_AsDouble(given_[at_++]);
    failed_ = failed_ || PyErr_Occurred();
    return value;
  }
  // Length of an axis of an argument that is still to come.
  Py_ssize_t length(int ahead, int axis) {
    if (failed_ || at_ + ahead >= left_) return 0;
    Py_buffer b;
    if (PyObject_GetBuffer(given_[at_ + ahead], &b, PyBUF_STRIDES)) {
      failed_ = true;
      return 0;
    }
    const Py_ssize_t length = axis < b.ndim ? b.shape[axis] : 0;
    PyBuffer_Release(&b);
    return length;
  }
  // Whether all of them did, and no more are left.
  bool good() {
    if (!failed_ && at_ != left_) {
      PyErr_Format(PyExc_TypeError, "%zd arguments expected, %zd given", at_, left_);
      failed_ = true;
    }
    return !failed_;
  }

 private:
  bool expect() {
    if (failed_) return false;
    if (at_ < left_) return true;
    PyErr_Format(PyExc_TypeError, "more than %zd arguments expected", left_);
    failed_ = true;
    return false;
  }
  const Py_buffer* buffer(int flags, std::initializer_list<Py_ssize_t> shape, Py_ssize_t item) {
    if (!expect()) return nullptr;
    Py_buffer* b = &buffers_[count_];
    failed_ = true;
    if (PyObject_GetBuffer(given_[at_++], b, flags)) return nullptr;
    ++count_;
    if (b->ndim != static_cast<int>(shape.size()) || b->itemsize != item ||
        !std::equal(shape.begin(), shape.end(), b->shape)) {
      PyErr_Format(PyExc_ValueError, "argument %zd has a wrong shape or type", at_);
      return nullptr;
    }
    failed_ = false;
    return b;
  }

  PyObject* const* given_;
  Py_ssize_t left_, at_ = 0;
  Py_buffer buffers_[24];
  int count_ = 0;
  bool failed_ = false;
};

constexpr Py_ssize_t kPacked = sizeof(Camera) / sizeof(double);

const char kTriangulateHelp[] =
    "triangulate(cameras, pixels, covariances, weights, min_sine_squared, most_chi_square,\n"
    "most_distance, points, point_covariances, residuals, distances, chi_square,\n"
    "root_mean_square, used, status)\n\n"
    "The inner loop of s3k_ros.geometry.triangulation.triangulate; the last eight are written.";

PyObject* triangulate(PyObject*, PyObject* const* given, Py_ssize_t count) {
  Arguments args(given, count);
  Arrays in{};
  const Py_ssize_t c = in.views = args.length(1, 0), n = in.points = args.length(1, 1);
  in.limits = args.length(5, 0);
  in.cameras = reinterpret_cast<const Camera*>(args.next<const double>({c, kPacked}));
  in.pixels = args.strided({c, n, 2});
  in.covariances = args.strided({c, n, 2, 2});
  in.weights = args.strided({c, n});
  in.min_sine_squared = args.number();
  in.most_chi_square = args.next<const double>({in.limits});
  in.most_distance = args.next<const double>({in.limits});
  in.position = args.next<double>({n, 3});
  in.covariance = args.next<double>({n, 3, 3});
  in.residuals = args.next<double>({c, n, 2});
  in.distances = args.next<double>({c, n});
  in.chi_square = args.next<double>({n});
  in.root_mean_square = args.next<double>({n});
  in.used = args.next<uint8_t>({n, c});
  in.status = args.next<uint8_t>({n});
  if (!args.good()) return nullptr;
  bool enough_memory = true;
  PyThreadState* other_threads_run = PyEval_SaveThread();
  try {
    run(in);
  } catch (const std::bad_alloc&) {
    enough_memory = false;
  }
  PyEval_RestoreThread(other_threads_run);
  if (!enough_memory) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

const char kRaysHelp[] =
    "rays(cameras, pixels, directions)\n\nAs s3k_ros.geometry.camera.CameraStack.rays.";

PyObject* rays(PyObject*, PyObject* const* given, Py_ssize_t count) {
  Arguments args(given, count);
  RayArrays in{};
  const Py_ssize_t c = in.views = args.length(1, 0), n = in.points = args.length(1, 1);
  in.cameras = reinterpret_cast<const Camera*>(args.next<const double>({c, kPacked}));
  in.pixels = args.strided({c, n, 2});
  in.rays = args.next<double>({c, n, 3});
  if (!args.good()) return nullptr;
  loops.rays(in);
  Py_RETURN_NONE;
}

const char kMixtureHelp[] =
    "fit_mixture(cameras, points, pixels, seen, precisions, loose, log_right, log_near,\n"
    "log_lost, spans, rounds, tolerance, gain, right, near, residuals, information, gradient,\n"
    "span)\n\n"
    "The inner loop of s3k_ros.perception.mixture.refine; points and the last seven are\n"
    "written.";

PyObject* fit_mixture(PyObject*, PyObject* const* given, Py_ssize_t count) {
  Arguments args(given, count);
  MixtureArrays in{};
  const Py_ssize_t c = in.views = args.length(2, 0), n = in.points = args.length(2, 1);
  in.cameras = reinterpret_cast<const Camera*>(args.next<const double>({c, kPacked}));
  in.at = args.next<double>({n, 3});
  in.pixels = args.strided({c, n, 2});
  in.seen = args.strided({c, n}, 1);
  in.precisions = args.strided({c, n, 2, 2});
  in.loose = args.next<const double>({c, 1});
  in.log_right = args.strided({c, n});
  in.log_near = args.strided({c, n});
  in.log_lost = args.strided({c, n});
  in.spans = args.next<const double>({c, 1});
  in.rounds = static_cast<Py_ssize_t>(args.number());
  in.tolerance = args.number();
  in.gain = args.next<double>({n});
  in.right = args.next<double>({c, n});
  in.near = args.next<double>({c, n});
  in.residuals = args.next<double>({c, n, 2});
  in.information = args.next<double>({n, 3, 3});
  in.gradient = args.next<double>({n, 3});
  in.span = args.next<double>({n});
  if (!args.good()) return nullptr;
  loops.fit_mixture(in);
  Py_RETURN_NONE;
}

PyObject* set_lanes(PyObject*, PyObject* argument) {
  const long lanes = PyLong_AsLong(argument);
  if (lanes == -1 && PyErr_Occurred()) return nullptr;
  const Loops found = loops_of(static_cast<int>(lanes));
  if (found.sweep) loops = found;
  return PyBool_FromLong(found.sweep != nullptr);
}

const char kDistancesHelp[] =
    "add_distances(points, first, second, distance, spread, log_scale, log_unusual, information,\n"
    "gradient)\n\n"
    "The inner loop of s3k_ros.perception.shape.Shape.gradient; adds to the last two.";

// A distance counts by its inverse variance, times the probability that it is not unusual.
void weigh_distance(const double* p, const double* q, double stated, double spread,
                    double log_scale, double log_unusual, double direction[3], double& weight,
                    double& residual) {
  double length = 0.0;
  for (int a = 0; a < 3; ++a) length += (p[a] - q[a]) * (p[a] - q[a]);
  length = std::sqrt(length);
  const bool known = std::isfinite(length);
  residual = known ? stated - length : 0.0;
  for (int a = 0; a < 3; ++a) direction[a] = known ? (p[a] - q[a]) / std::max(length, 1e-9) : 0.0;
  const double sigmas = residual / spread;
  const double log_right = log_scale - std::log(spread) - 0.5 * sigmas * sigmas;
  weight = 1.0 / ((1.0 + std::exp(log_unusual - log_right)) * spread * spread);
}

PyObject* add_distances(PyObject*, PyObject* const* given, Py_ssize_t count) {
  Arguments args(given, count);
  const Py_ssize_t k = args.length(0, 0), d = args.length(1, 0), n = 3 * k;
  const double* points = args.next<const double>({k, 3});
  const int64_t* first = args.next<const int64_t>({d});
  const int64_t* second = args.next<const int64_t>({d});
  const double* distance = args.next<const double>({d});
  const double* spread = args.next<const double>({d});
  const double log_scale = args.number(), log_unusual = args.number();
  double* information = args.next<double>({n, n});
  double* gradient = args.next<double>({n});
  if (!args.good()) return nullptr;
  for (Py_ssize_t i = 0; i < d; ++i) {
    if (first[i] < 0 || first[i] >= k || second[i] < 0 || second[i] >= k)
      return PyErr_Format(PyExc_ValueError, "distance %zd is of a keypoint that is not there", i);
    const Py_ssize_t a = 3 * first[i], b = 3 * second[i];
    double u[3], weight, residual;
    weigh_distance(points + a, points + b, distance[i], spread[i], log_scale, log_unusual, u,
                   weight, residual);
    for (int p = 0; p < 3; ++p) {
      gradient[a + p] += weight * residual * u[p];
      gradient[b + p] -= weight * residual * u[p];
      for (int q = 0; q < 3; ++q) {
        const double part = weight * u[p] * u[q];
        information[(a + p) * n + a + q] += part, information[(b + p) * n + b + q] += part;
        information[(a + p) * n + b + q] -= part, information[(b + p) * n + a + q] -= part;
      }
    }
  }
  Py_RETURN_NONE;
}

const char kSolveHelp[] =
    "solve_positive(matrix, vector)\n\nThe solution of a symmetric positive definite system in "
    "place of the vector (n,), the\nlower Cholesky factor in place of the matrix (n, n). False "
    "where there is none.";

PyObject* solve_positive(PyObject*, PyObject* const* given, Py_ssize_t count) {
  Arguments args(given, count);
  const Py_ssize_t n = args.length(1, 0);
  double* matrix = args.next<double>({n, n});
  double* vector = args.next<double>({n});
  if (!args.good()) return nullptr;
  std::vector<double> column(n);
  const bool solved = loops.factorise(matrix, n, column.data());
  if (solved) loops.solve_factorised(matrix, n, vector);
  return PyBool_FromLong(solved);
}

const char kInverseHelp[] =
    "inverse_blocks(factor, blocks)\n\nThe blocks (n / 3, 3, 3) on the diagonal of the inverse of "
    "a matrix, from its factor (n, n).";

PyObject* inverse_blocks(PyObject*, PyObject* const* given, Py_ssize_t count) {
  Arguments args(given, count);
  const Py_ssize_t blocks = args.length(1, 0), n = 3 * blocks;
  const double* factor = args.next<const double>({n, n});
  double* out = args.next<double>({blocks, 3, 3});
  if (!args.good()) return nullptr;
  std::vector<double> inverse(n * n);
  std::fill_n(out, 9 * blocks, 0.0);
  loops.inverse_blocks(factor, n, inverse.data(), out);
  Py_RETURN_NONE;
}

using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

PyCFunction plain(Fast function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"triangulate", plain(triangulate), METH_FASTCALL, kTriangulateHelp},
    {"rays", plain(rays), METH_FASTCALL, kRaysHelp},
    {"fit_mixture", plain(fit_mixture), METH_FASTCALL, kMixtureHelp},
    {"add_distances", plain(add_distances), METH_FASTCALL, kDistancesHelp},
    {"solve_positive", plain(solve_positive), METH_FASTCALL, kSolveHelp},
    {"inverse_blocks", plain(inverse_blocks), METH_FASTCALL, kInverseHelp},
    {"set_lanes", set_lanes, METH_O,
     "Points side by side: 2, 4 or 8. False, and no change, where the processor cannot."},
    {nullptr, nullptr, 0, nullptr}};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", nullptr, 0, methods,
                      nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() {
  for (int lanes = 2; lanes <= 8; lanes *= 2)
    if (const Loops wider = loops_of(lanes); wider.sweep) loops = wider;
  return PyModule_Create(&module);
}
