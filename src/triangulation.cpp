// Points from the pixels of several cameras: the inner loops of s3k_ros/geometry/triangulation.py,
// which holds the documentation of the method and of the arrays.
//
// Several points go through every step side by side (triangulation_lanes.h), as many as fit a vector
// of the processor that runs it. Units: pixels and metres, base frame.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#define INLINE static inline __attribute__((always_inline)) TARGET

namespace {

constexpr double kMinDepth = 1e-3;  // as MIN_DEPTH_M in camera.py
constexpr double kUndistorted = 1e-10;  // normalised units, as in lens.py
constexpr int kMostUndistortions = 30;
constexpr int kMostSteps = 6;  // Gauss-Newton starts at Eq. 2 and ends after two or three steps
constexpr double kStep = 1e-8;  // squared standard deviations; smaller steps are not taken
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

enum Status : uint8_t { kOk, kTooFewViews, kDegenerate, kDiverged, kInconsistent };

// As CameraStack.packed lays it out.
struct Camera {
  double axes[9];  // columns: the camera's axes in the base frame
  double centre[3];
  double fx, fy, cx, cy;
  double k[8];
  double limit_r2;
};

// An array with strides in bytes.
struct Strided {
  const char* data;
  Py_ssize_t stride[4];
  double at(Py_ssize_t a, Py_ssize_t b, Py_ssize_t c = 0, Py_ssize_t d = 0) const {
    return *reinterpret_cast<const double*>(data + a * stride[0] + b * stride[1] +
                                            c * stride[2] + d * stride[3]);
  }
};

struct Arrays {
  const Camera* cameras;
  Py_ssize_t views, points;
  Strided pixels, covariances, weights;
  double min_sine_squared;
  const double* most_chi_square;  // by number of views, empty without a rule for outliers
  const double* most_distance;
  Py_ssize_t limits;
  double *position, *covariance, *residuals, *distances, *chi_square, *root_mean_square;
  uint8_t *used, *status;
};

// A compiler splits vectors that are wider than the processor's badly, so each width is its own.
#define TARGET
#define LANES 2
namespace narrow {
#include "triangulation_lanes.h"
}
#undef TARGET
#undef LANES

#if defined(__x86_64__)
#define TARGET __attribute__((target("arch=haswell")))
#define LANES 4
namespace avx2 {
#include "triangulation_lanes.h"
}
#undef TARGET
#undef LANES

#define TARGET __attribute__((target("arch=skylake-avx512,prefer-vector-width=512")))
#define LANES 8
namespace avx512 {
#include "triangulation_lanes.h"
}
#undef TARGET
#undef LANES
#endif

// The point has no numbers, only a reason.
void refuse(const Arrays& in, Py_ssize_t k, Status status) {
  in.status[k] = status;
  in.chi_square[k] = in.root_mean_square[k] = kNaN;
  std::fill_n(in.position + 3 * k, 3, kNaN);
  std::fill_n(in.covariance + 9 * k, 9, kNaN);
  for (Py_ssize_t i = 0; i < in.views; ++i) {
    const Py_ssize_t at = i * in.points + k;
    in.residuals[2 * at] = in.residuals[2 * at + 1] = in.distances[at] = kNaN;
    in.used[k * in.views + i] = 0;
  }
}

// Whether the views of a point disagree and one of them was dropped, so that it is solved again.
bool drop_worst(const Arrays& in, Py_ssize_t k, uint8_t& dropped) {
  if (in.status[k] != kOk) return false;
  Py_ssize_t worst = -1, count = 0;
  double most = -1.0;
  for (Py_ssize_t i = 0; i < in.views; ++i) {
    if (!in.used[k * in.views + i]) continue;
    ++count;
    const double off = in.distances[i * in.points + k];
    if (off > most) most = off, worst = i;
  }
  if (count < 3) {
    if (dropped) refuse(in, k, kInconsistent);
    return false;
  }
  const Py_ssize_t row = std::min(count, in.limits - 1);
  if (in.chi_square[k] <= in.most_chi_square[row] && most <= in.most_distance[row]) return false;
  // Of three the liar cannot be told, and a minority does not outvote.
  if (count == 3 || 2 * (dropped + 1) >= count + dropped) {
    refuse(in, k, kInconsistent);
    return false;
  }
  in.used[k * in.views + worst] = 0;
  ++dropped;
  return true;
}

using Sweep = void (*)(const Arrays&, const std::vector<Py_ssize_t>&);

// For so many points side by side, or nullptr where the processor cannot.
Sweep sweep_of(int lanes) {
  if (lanes == 2) return narrow::sweep;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (lanes == 4 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return avx2::sweep;
  if (lanes == 8 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    return avx512::sweep;
#endif
  return nullptr;
}

Sweep sweep = nullptr;  // the widest, unless a test sets it

void run(const Arrays& in) {
  std::vector<Py_ssize_t> left(in.points);
  for (Py_ssize_t k = 0; k < in.points; ++k) left[k] = k;
  std::fill_n(in.used, in.views * in.points, 1);
  std::vector<uint8_t> dropped(in.limits ? in.points : 0);
  while (!left.empty()) {
    sweep(in, left);
    if (!in.limits) break;
    const auto again = [&](Py_ssize_t k) { return drop_worst(in, k, dropped[k]); };
    left.erase(std::stable_partition(left.begin(), left.end(), again), left.end());
  }
}

// --- Python -------------------------------------------------------------------------------------

// Buffers that are given back at the end, however it comes.
struct Buffers {
  Py_buffer all[16];
  int count = 0;
  ~Buffers() {
    while (count) PyBuffer_Release(&all[--count]);
  }
  // The array's buffer, or nullptr with an exception set.
  Py_buffer* get(PyObject* array, int flags, int dimensions, Py_ssize_t item) {
    Py_buffer* buffer = &all[count];
    if (PyObject_GetBuffer(array, buffer, flags)) return nullptr;
    ++count;
    if (buffer->ndim == dimensions && buffer->itemsize == item) return buffer;
    PyErr_Format(PyExc_ValueError, "argument %d must have %d dimensions of %zd bytes", count,
                 dimensions, item);
    return nullptr;
  }
};

Strided strided(const Py_buffer* b) {
  Strided s{static_cast<const char*>(b->buf), {}};
  std::copy_n(b->strides, b->ndim, s.stride);
  return s;
}

const char kHelp[] =
    "triangulate(cameras, pixels, covariances, weights, min_sine_squared, most_chi_square,\n"
    "most_distance, points, point_covariances, residuals, distances, chi_square, root_mean_square,\n"
    "used, status)\n\n"
    "The inner loop of s3k_ros.geometry.triangulation.triangulate; the last eight are written.";

constexpr int kArguments = 15;

PyObject* triangulate(PyObject*, PyObject* const* args, Py_ssize_t given) {
  if (given != kArguments)
    return PyErr_Format(PyExc_TypeError, "%d arguments expected, %zd given", kArguments, given);
  static const int kDimensions[kArguments] = {2, 3, 4, 2, 0, 1, 1, 2, 3, 3, 2, 1, 1, 2, 1};
  Buffers buffers;
  Py_buffer* b[kArguments] = {};
  for (int i = 0; i < kArguments; ++i) {
    if (i == 4) continue;
    const int flags = i == 1 || i == 2 || i == 3 ? PyBUF_STRIDES
                      : i < 7                    ? PyBUF_C_CONTIGUOUS
                                                 : PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE;
    if (!(b[i] = buffers.get(args[i], flags, kDimensions[i], i < 13 ? 8 : 1))) return nullptr;
  }
  Arrays in{};
  in.min_sine_squared = PyFloat_AsDouble(args[4]);
  if (PyErr_Occurred()) return nullptr;
  in.cameras = static_cast<const Camera*>(b[0]->buf);
  in.views = b[1]->shape[0], in.points = b[1]->shape[1], in.limits = b[5]->shape[0];
  const Py_ssize_t c = in.views, n = in.points;
  const Py_ssize_t expected[kArguments][4] = {{c, sizeof(Camera) / 8}, {c, n, 2}, {c, n, 2, 2}, {c, n}, {},
      {in.limits}, {in.limits}, {n, 3}, {n, 3, 3}, {c, n, 2}, {c, n}, {n}, {n},
      {n, c}, {n}};
  for (int i = 0; i < kArguments; ++i)
    for (int a = 0; a < kDimensions[i]; ++a)
      if (b[i]->shape[a] != expected[i][a])
        return PyErr_Format(PyExc_ValueError, "argument %d has a wrong shape", i);
  in.pixels = strided(b[1]), in.covariances = strided(b[2]), in.weights = strided(b[3]);
  in.most_chi_square = static_cast<double*>(b[5]->buf);
  in.most_distance = static_cast<double*>(b[6]->buf);
  in.position = static_cast<double*>(b[7]->buf), in.covariance = static_cast<double*>(b[8]->buf);
  in.residuals = static_cast<double*>(b[9]->buf), in.distances = static_cast<double*>(b[10]->buf);
  in.chi_square = static_cast<double*>(b[11]->buf);
  in.root_mean_square = static_cast<double*>(b[12]->buf);
  in.used = static_cast<uint8_t*>(b[13]->buf), in.status = static_cast<uint8_t*>(b[14]->buf);
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

PyObject* set_lanes(PyObject*, PyObject* argument) {
  const long lanes = PyLong_AsLong(argument);
  if (lanes == -1 && PyErr_Occurred()) return nullptr;
  const Sweep found = sweep_of(static_cast<int>(lanes));
  if (found) sweep = found;
  return PyBool_FromLong(found != nullptr);
}

PyMethodDef methods[] = {
    {"triangulate", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(triangulate)),
     METH_FASTCALL, kHelp},
    {"set_lanes", set_lanes, METH_O,
     "Points side by side: 2, 4 or 8. False, and no change, where the processor cannot."},
    {nullptr, nullptr, 0, nullptr}};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", nullptr, 0, methods,
                      nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() {
  for (int lanes = 2; lanes <= 8; lanes *= 2)
    if (const Sweep wider = sweep_of(lanes)) sweep = wider;
  return PyModule_Create(&module);
}
