// The inner loops by width of vectors, and what goes in and out of them. Units: pixels and metres,
// base frame.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#define INLINE static inline __attribute__((always_inline)) TARGET

namespace {

constexpr double kMinDepth = 1e-3;  // as MIN_DEPTH_M in camera.py
// Normalised units: below 1e-6 px for any focal length under 10,000 px.
constexpr double kUndistorted = 1e-10;
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
  ssize_t stride[4];
  bool truth(ssize_t a, ssize_t b) const { return data[a * stride[0] + b * stride[1]]; }
  double at(ssize_t a, ssize_t b, ssize_t c = 0, ssize_t d = 0) const {
    return *reinterpret_cast<const double*>(data + a * stride[0] + b * stride[1] +
                                            c * stride[2] + d * stride[3]);
  }
};

struct Arrays {
  const Camera* cameras;
  ssize_t views, points;
  Strided pixels, covariances, weights;
  double min_sine_squared;
  const double* most_chi_square;  // by number of views, empty without a rule for outliers
  const double* most_distance;
  ssize_t limits;
  double *position, *covariance, *residuals, *distances, *chi_square, *root_mean_square;
  uint8_t *used, *status;
};

struct RayArrays {
  const Camera* cameras;
  ssize_t views, points;
  Strided pixels;
  double* rays;
};

struct MixtureArrays {
  const Camera* cameras;
  ssize_t views, points;
  double* at;
  const double *loose, *spans;
  double tolerance;
  ssize_t rounds;
  Strided pixels, seen, precisions, log_right, log_near, log_lost;
  double *gain, *right, *near, *residuals, *information, *gradient, *span;
};

// Where a symmetric 3x3 matrix has its six numbers.
constexpr int kFull[9] = {0, 1, 2, 1, 3, 4, 2, 4, 5};

// A compiler splits vectors that are wider than the processor's badly, so each width is its own.
#define TARGET
#define LANES 2
namespace narrow {
#include "lanes.h"
#include "triangulation.h"
#include "mixture.h"
#include "dense.h"
}
#undef TARGET
#undef LANES

#if defined(__x86_64__)
#define TARGET __attribute__((target("arch=haswell")))
#define LANES 4
namespace avx2 {
#include "lanes.h"
#include "triangulation.h"
#include "mixture.h"
#include "dense.h"
}
#undef TARGET
#undef LANES

#define TARGET __attribute__((target("arch=skylake-avx512,prefer-vector-width=512")))
#define LANES 8
namespace avx512 {
#include "lanes.h"
#include "triangulation.h"
#include "mixture.h"
#include "dense.h"
}
#undef TARGET
#undef LANES
#endif

// The point has no numbers, only a reason.
void refuse(const Arrays& in, ssize_t k, Status status) {
  in.status[k] = status;
  in.chi_square[k] = in.root_mean_square[k] = kNaN;
  std::fill_n(in.position + 3 * k, 3, kNaN);
  std::fill_n(in.covariance + 9 * k, 9, kNaN);
  for (ssize_t i = 0; i < in.views; ++i) {
    const ssize_t at = i * in.points + k;
    in.residuals[2 * at] = in.residuals[2 * at + 1] = in.distances[at] = kNaN;
    in.used[k * in.views + i] = 0;
  }
}

// Whether the views of a point disagree and one of them was dropped, so that it is solved again.
bool drop_worst(const Arrays& in, ssize_t k, uint8_t& dropped) {
  if (in.status[k] != kOk) return false;
  ssize_t worst = -1, count = 0;
  double most = -1.0;
  for (ssize_t i = 0; i < in.views; ++i) {
    if (!in.used[k * in.views + i]) continue;
    ++count;
    const double off = in.distances[i * in.points + k];
    if (off > most) most = off, worst = i;
  }
  if (count < 3) {
    if (dropped) refuse(in, k, kInconsistent);
    return false;
  }
  const ssize_t row = std::min(count, in.limits - 1);
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

struct Loops {
  void (*sweep)(const Arrays&, const std::vector<ssize_t>&);
  void (*rays)(const RayArrays&);
  void (*fit_mixture)(const MixtureArrays&);
  bool (*factorise)(double*, ssize_t, double*);
  void (*solve_factorised)(const double*, ssize_t, double*);
  void (*inverse_blocks)(const double*, ssize_t, double*, double*);
};

#define LOOPS_OF(width)                                                              \
  {                                                                                  \
    width::sweep, width::rays, width::fit_mixture, width::factorise,                 \
        width::solve_factorised, width::inverse_blocks                               \
  }

// For so many points side by side; null pointers where the processor cannot.
Loops loops_of(int lanes) {
  if (lanes == 2) return LOOPS_OF(narrow);
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (lanes == 4 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return LOOPS_OF(avx2);
  if (lanes == 8 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    return LOOPS_OF(avx512);
#endif
  return {};
}

Loops loops{};  // the widest, unless a test sets them

void run(const Arrays& in) {
  std::vector<ssize_t> left(in.points);
  for (ssize_t k = 0; k < in.points; ++k) left[k] = k;
  std::fill_n(in.used, in.views * in.points, 1);
  std::vector<uint8_t> dropped(in.limits ? in.points : 0);
  while (!left.empty()) {
    loops.sweep(in, left);
    if (!in.limits) break;
    const auto again = [&](ssize_t k) { return drop_worst(in, k, dropped[k]); };
    left.erase(std::stable_partition(left.begin(), left.end(), again), left.end());
  }
}

}  // namespace
