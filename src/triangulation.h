// Points from the pixels of several cameras: the inner loop of s3k_ros/geometry/triangulation.py,
// which holds the documentation of the method and of the arrays.

struct alignas(sizeof(V)) View {
  V u, v;
  V s11, s12, s22;  // error covariance, px^2
  V i11, i12, i22;  // its inverse
  V weight;
  V dx, dy, dz;  // ray, not normalised
  Mask usable;
};

// The linearised problem at points.
struct Fit {
  Symmetric inverse;
  V gradient[3], chi_square;
  Mask solvable, seen;
};

INLINE Fit linearise(const Camera* cameras, const View* views, ssize_t count, const V p[3]) {
  Symmetric h{};
  Fit fit{};
  fit.seen = ~Mask{};
  for (ssize_t i = 0; i < count; ++i) {
    const View& w = views[i];
    if (!any(w.usable)) continue;
    const Sight s = project(cameras[i], p);
    const V ru = w.u - s.u, rv = w.v - s.v;
    const Mask counted = w.usable & finite(ru + rv);
    fit.seen = fit.seen & (counted | ~w.usable);
    const V a = where(counted, w.i11, 0.0), b = where(counted, w.i12, 0.0);
    const V d = where(counted, w.i22, 0.0);
    const V eu = where(counted, ru, 0.0), ev = where(counted, rv, 0.0);
    const V ux = where(counted, s.ux, 0.0), uy = where(counted, s.uy, 0.0);
    const V uz = where(counted, s.uz, 0.0), vx = where(counted, s.vx, 0.0);
    const V vy = where(counted, s.vy, 0.0), vz = where(counted, s.vz, 0.0);
    const V wu = a * eu + b * ev, wv = b * eu + d * ev;
    fit.chi_square += eu * wu + ev * wv;
    fit.gradient[0] += ux * wu + vx * wv;
    fit.gradient[1] += uy * wu + vy * wv;
    fit.gradient[2] += uz * wu + vz * wv;
    const V ax = a * ux + b * vx, bx = b * ux + d * vx;
    const V ay = a * uy + b * vy, by = b * uy + d * vy;
    const V az = a * uz + b * vz, bz = b * uz + d * vz;
    h.m[0] += ux * ax + vx * bx, h.m[1] += uy * ax + vy * bx, h.m[2] += uz * ax + vz * bx;
    h.m[3] += uy * ay + vy * by, h.m[4] += uz * ay + vz * by, h.m[5] += uz * az + vz * bz;
  }
  fit.solvable = invert(h, fit.inverse);
  return fit;
}

// Whether some pair of usable rays is further apart than the least angle.
INLINE Mask spread_in_angle(const View* views, ssize_t count, double min_sine_squared) {
  Mask apart{};
  for (ssize_t i = 0; i < count; ++i) {
    const View& a = views[i];
    const V own = a.dx * a.dx + a.dy * a.dy + a.dz * a.dz;
    for (ssize_t j = 0; j < i; ++j) {
      const View& b = views[j];
      const V both = own * (b.dx * b.dx + b.dy * b.dy + b.dz * b.dz);
      const V along = a.dx * b.dx + a.dy * b.dy + a.dz * b.dz;
      apart = apart | (a.usable & b.usable & (both - along * along > min_sine_squared * both));
    }
    if (!any(~apart)) break;
  }
  return apart;
}

// Eq. 2; NaN where no two usable rays come from different sides.
INLINE void intersect(const Arrays& in, const View* views, V p[3]) {
  Symmetric system{};
  V right[3] = {};
  for (ssize_t i = 0; i < in.views; ++i) {
    const View& w = views[i];
    const double* o = in.cameras[i].centre;
    const V norm = w.dx * w.dx + w.dy * w.dy + w.dz * w.dz;
    const V scale = where(w.usable, w.weight / norm, 0.0), own = where(w.usable, w.weight, 0.0);
    const V x = where(w.usable, w.dx, 0.0), y = where(w.usable, w.dy, 0.0);
    const V z = where(w.usable, w.dz, 0.0);
    const V along = (x * o[0] + y * o[1] + z * o[2]) * scale;
    right[0] += own * o[0] - x * along, right[1] += own * o[1] - y * along;
    right[2] += own * o[2] - z * along;
    system.m[0] += own - x * x * scale, system.m[1] -= x * y * scale;
    system.m[2] -= x * z * scale, system.m[3] += own - y * y * scale;
    system.m[4] -= y * z * scale, system.m[5] += own - z * z * scale;
  }
  Symmetric inverse;
  const Mask solvable =
      invert(system, inverse) & spread_in_angle(views, in.views, in.min_sine_squared);
  multiply(inverse, right, p);
  for (int i = 0; i < 3; ++i) p[i] = where(solvable, p[i], kNaN);
}

// Eq. 2 without the views that have the point behind them.
INLINE void start(const Arrays& in, View* views, V p[3]) {
  for (bool again = true; again;) {
    again = false;
    intersect(in, views, p);
    for (ssize_t i = 0; i < in.views; ++i) {
      const double *r = in.cameras[i].axes, *o = in.cameras[i].centre;
      const V depth = r[2] * (p[0] - o[0]) + r[5] * (p[1] - o[1]) + r[8] * (p[2] - o[2]);
      const Mask behind = views[i].usable & (depth <= kMinDepth);
      again = again || any(behind);
      views[i].usable = views[i].usable & ~behind;
    }
  }
}

// Gauss-Newton; a point whose cost would rise keeps its place.
INLINE Fit refine(const Arrays& in, const View* views, V p[3]) {
  Fit fit = linearise(in.cameras, views, in.views, p);
  Mask moving = fit.solvable;
  for (int i = 0; i < kMostSteps; ++i) {
    V step[3], trial[3];
    multiply(fit.inverse, fit.gradient, step);
    const V size =
        step[0] * fit.gradient[0] + step[1] * fit.gradient[1] + step[2] * fit.gradient[2];
    moving = moving & (size > kStep);
    if (!any(moving)) break;
    for (int a = 0; a < 3; ++a) trial[a] = p[a] + step[a];
    const Fit next = linearise(in.cameras, views, in.views, trial);
    moving = moving & next.solvable & next.seen & (next.chi_square <= fit.chi_square);
    for (int a = 0; a < 3; ++a) {
      p[a] = where(moving, trial[a], p[a]);
      fit.gradient[a] = where(moving, next.gradient[a], fit.gradient[a]);
    }
    for (int a = 0; a < 6; ++a)
      fit.inverse.m[a] = where(moving, next.inverse.m[a], fit.inverse.m[a]);
    fit.chi_square = where(moving, next.chi_square, fit.chi_square);
    fit.seen = (moving & next.seen) | (~moving & fit.seen);
  }
  return fit;
}

INLINE void load(const Arrays& in, const ssize_t* points, View* views) {
  V most{};
  for (ssize_t i = 0; i < in.views; ++i) {
    View& w = views[i];
    V a{}, d{}, dropped{};
    for (int l = 0; l < LANES; ++l) {
      const ssize_t k = points[l];
      w.u[l] = in.pixels.at(i, k, 0), w.v[l] = in.pixels.at(i, k, 1);
      w.s11[l] = in.covariances.at(i, k, 0, 0), w.s12[l] = in.covariances.at(i, k, 0, 1);
      w.s22[l] = in.covariances.at(i, k, 1, 1);
      w.weight[l] = in.weights.at(i, k);
      dropped[l] = in.used[k * in.views + i] ? 0.0 : 1.0;
    }
    const Camera& c = in.cameras[i];
    V x = (w.u - c.cx) / c.fx, y = (w.v - c.cy) / c.fy;
    undistort(c, x, y);
    const double* r = c.axes;
    w.dx = r[0] * x + r[1] * y + r[2], w.dy = r[3] * x + r[4] * y + r[5];
    w.dz = r[6] * x + r[7] * y + r[8];
    const V determinant = w.s11 * w.s22 - w.s12 * w.s12;
    const Mask valid = (w.s11 > 0.0) & (determinant > 0.0) & finite(w.s11 + w.s12 + w.s22);
    a = w.s22 / determinant, d = w.s11 / determinant;
    w.i11 = a, w.i22 = d, w.i12 = -w.s12 / determinant;
    w.usable = valid & (w.weight > 0.0) & finite(x + y) & (dropped == 0.0);
    const V own = where(w.usable, w.weight, 0.0);
    most = own > most ? own : most;
  }
  // A common factor changes nothing; without it very small weights underflow.
  const V largest = where(most > 0.0, most, 1.0);
  for (ssize_t i = 0; i < in.views; ++i) views[i].weight = views[i].weight / largest;
}

// r^T (S - J P J^T)^-1 r of one view; with two views the matrix has rank one.
INLINE V distance(const View& w, const Sight& s, const Symmetric& p, const V& ru, const V& rv) {
  const V u[3] = {s.ux, s.uy, s.uz}, v[3] = {s.vx, s.vy, s.vz};
  V pu[3], pv[3];
  multiply(p, u, pu);
  multiply(p, v, pv);
  const V a = w.s11 - (u[0] * pu[0] + u[1] * pu[1] + u[2] * pu[2]);
  const V b = w.s12 - (v[0] * pu[0] + v[1] * pu[1] + v[2] * pu[2]);
  const V d = w.s22 - (v[0] * pv[0] + v[1] * pv[1] + v[2] * pv[2]);
  const V determinant = a * d - b * b, trace = a + d;
  const Mask regular = determinant > 1e-9 * (w.s11 + w.s22) * trace;
  const V full = (d * ru * ru - 2.0 * b * ru * rv + a * rv * rv) / where(regular, determinant, 1.0);
  const V line = (a * ru * ru + 2.0 * b * ru * rv + d * rv * rv) / (trace * trace);
  return where(regular, full, line);
}

// One block of points; their results are written for the first `lanes` of them.
TARGET
inline void solve(const Arrays& in, const ssize_t* points, int lanes, View* views) {
  V p[3];
  load(in, points, views);
  start(in, views, p);
  Mask count{};
  for (ssize_t i = 0; i < in.views; ++i) count -= views[i].usable;
  const Mask placed = finite(p[0] + p[1] + p[2]);
  const Fit fit = refine(in, views, p);
  const Mask good = (count >= 2) & placed & fit.solvable & fit.seen & finite(p[0] + p[1] + p[2]);
  V squares{};
  for (ssize_t i = 0; i < in.views; ++i) {
    const View& w = views[i];
    const Sight s = project(in.cameras[i], p);
    const V ru = where(good, w.u - s.u, kNaN), rv = where(good, w.v - s.v, kNaN);
    const Mask used = w.usable & good;
    const V off = where(used, distance(w, s, fit.inverse, ru, rv), kNaN);
    const Mask compared = finite(ru + rv);
    squares += where(used, ru * ru + rv * rv, 0.0);
    for (int l = 0; l < lanes; ++l) {
      const ssize_t k = points[l], at = i * in.points + k;
      in.residuals[2 * at] = compared[l] ? ru[l] : kNaN;
      in.residuals[2 * at + 1] = compared[l] ? rv[l] : kNaN;
      in.distances[at] = off[l];
      in.used[k * in.views + i] = used[l] ? 1 : 0;
    }
  }
  for (int l = 0; l < lanes; ++l) {
    const ssize_t k = points[l];
    in.status[k] = count[l] < 2 ? kTooFewViews : !placed[l] ? kDegenerate
                   : !good[l]   ? kDiverged
                                : kOk;
    in.chi_square[k] = good[l] ? fit.chi_square[l] : kNaN;
    in.root_mean_square[k] = good[l] ? std::sqrt(squares[l] / count[l]) : kNaN;
    for (int a = 0; a < 3; ++a) in.position[3 * k + a] = good[l] ? p[a][l] : kNaN;
    for (int a = 0; a < 9; ++a)
      in.covariance[9 * k + a] = good[l] ? fit.inverse.m[kFull[a]][l] : kNaN;
  }
}

// All the points that are named.
inline void sweep(const Arrays& in, const std::vector<ssize_t>& named) {
  std::vector<View> views(in.views);
  const ssize_t count = named.size();
  for (ssize_t first = 0; first < count; first += LANES) {
    ssize_t points[LANES];
    for (int l = 0; l < LANES; ++l) points[l] = named[std::min(first + l, count - 1)];
    solve(in, points, static_cast<int>(std::min<ssize_t>(LANES, count - first)), views.data());
  }
}

// Unit directions in the base frame through pixels, NaN where there are none.
TARGET
inline void rays_block(const RayArrays& in, ssize_t view, ssize_t first, int lanes) {
  const Camera& c = in.cameras[view];
  V x{}, y{};
  for (int l = 0; l < LANES; ++l) {
    const ssize_t k = first + std::min(l, lanes - 1);
    x[l] = in.pixels.at(view, k, 0), y[l] = in.pixels.at(view, k, 1);
  }
  x = (x - c.cx) / c.fx, y = (y - c.cy) / c.fy;
  undistort(c, x, y);
  const double* r = c.axes;
  const V dx = r[0] * x + r[1] * y + r[2], dy = r[3] * x + r[4] * y + r[5];
  const V dz = r[6] * x + r[7] * y + r[8];
  for (int l = 0; l < lanes; ++l) {
    double* out = in.rays + 3 * (view * in.points + first + l);
    const double scale = 1.0 / std::sqrt(x[l] * x[l] + y[l] * y[l] + 1.0);
    out[0] = dx[l] * scale, out[1] = dy[l] * scale, out[2] = dz[l] * scale;
  }
}

inline void rays(const RayArrays& in) {
  for (ssize_t view = 0; view < in.views; ++view)
    for (ssize_t first = 0; first < in.points; first += LANES)
      rays_block(in, view, first, static_cast<int>(std::min<ssize_t>(LANES, in.points - first)));
}
