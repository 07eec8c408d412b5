// The likelihood of points, its derivatives, and Gauss-Newton on it: the inner loops of
// s3k_ros/perception/mixture.py, which holds the documentation of the model and of the arrays.

// One block of points; their results are written for the first `lanes` of them.
TARGET
inline void fit_block(const MixtureArrays& in, ssize_t first, int lanes) {
  V p[3] = {};
  for (int l = 0; l < LANES; ++l)
    for (int a = 0; a < 3; ++a) p[a][l] = in.at[3 * (first + std::min(l, lanes - 1)) + a];
  V gain{}, scale{}, count{}, gradient[3] = {};
  Symmetric h{};
  for (ssize_t i = 0; i < in.views; ++i) {
    const Sight s = project(in.cameras[i], p);
    const double loose = in.loose[i];
    V u{}, v{}, a{}, b{}, d{}, log_right{}, log_near{}, log_lost{}, seen{};
    for (int l = 0; l < LANES; ++l) {
      const ssize_t k = first + std::min(l, lanes - 1);
      u[l] = in.pixels.at(i, k, 0), v[l] = in.pixels.at(i, k, 1);
      a[l] = in.precisions.at(i, k, 0, 0), b[l] = in.precisions.at(i, k, 0, 1);
      d[l] = in.precisions.at(i, k, 1, 1);
      log_right[l] = in.log_right.at(i, k), log_near[l] = in.log_near.at(i, k);
      log_lost[l] = in.log_lost.at(i, k), seen[l] = in.seen.truth(i, k) ? 1.0 : 0.0;
    }
    const V off_u = u - s.u, off_v = v - s.v;
    const Mask counted = (seen > 0.0) & (s.depth > kMinDepth) & finite(off_u + off_v);
    const V ru = where(counted, off_u, 0.0), rv = where(counted, off_v, 0.0);
    const V wu = a * ru + b * rv, wv = b * ru + d * rv;
    V right = log_right - 0.5 * (ru * wu + rv * wv);
    V near = log_near - 0.5 * loose * (ru * ru + rv * rv);
    V top = right > near ? right : near;
    top = top > log_lost ? top : log_lost;
    V grown{};
    for (int l = 0; l < LANES; ++l) {
      right[l] = std::exp(right[l] - top[l]), near[l] = std::exp(near[l] - top[l]);
      const double lost = std::exp(log_lost[l] - top[l]), total = right[l] + near[l] + lost;
      right[l] /= total, near[l] /= total;
      grown[l] = top[l] + std::log(total) - log_lost[l];
    }
    gain += where(counted, grown, 0.0);
    right = where(counted, right, 0.0), near = where(counted, near, 0.0);
    const V ux = where(counted, s.ux, 0.0), uy = where(counted, s.uy, 0.0);
    const V uz = where(counted, s.uz, 0.0), vx = where(counted, s.vx, 0.0);
    const V vy = where(counted, s.vy, 0.0), vz = where(counted, s.vz, 0.0);
    a = a * right + near * loose, b = b * right, d = d * right + near * loose;
    const V gu = a * ru + b * rv, gv = b * ru + d * rv;
    gradient[0] += ux * gu + vx * gv;
    gradient[1] += uy * gu + vy * gv;
    gradient[2] += uz * gu + vz * gv;
    const V ax = a * ux + b * vx, bx = b * ux + d * vx;
    const V ay = a * uy + b * vy, by = b * uy + d * vy;
    const V az = a * uz + b * vz, bz = b * uz + d * vz;
    h.m[0] += ux * ax + vx * bx, h.m[1] += uy * ax + vy * bx, h.m[2] += uz * ax + vz * bx;
    h.m[3] += uy * ay + vy * by, h.m[4] += uz * ay + vz * by, h.m[5] += uz * az + vz * bz;
    // Squared pixels a metre, across the lines of sight.
    const V squares = ux * ux + uy * uy + uz * uz + vx * vx + vy * vy + vz * vz;
    scale += squares * (0.5 / (in.spans[i] * in.spans[i]));
    count += where(counted, V{} + 1.0, 0.0);
    for (int l = 0; l < lanes; ++l) {
      const ssize_t at = i * in.points + first + l;
      in.right[at] = right[l], in.near[at] = near[l];
      in.residuals[2 * at] = off_u[l], in.residuals[2 * at + 1] = off_v[l];
    }
  }
  for (int l = 0; l < lanes; ++l) {
    const ssize_t k = first + l;
    in.gain[k] = gain[l];
    in.span[k] = count[l] > 0.0 ? std::sqrt(count[l] / scale[l]) : kNaN;
    for (int a = 0; a < 3; ++a) in.gradient[3 * k + a] = gradient[a][l];
    for (int a = 0; a < 9; ++a) in.information[9 * k + a] = h.m[kFull[a]][l];
  }
}

inline void fit_at(const MixtureArrays& in) {
  for (ssize_t first = 0; first < in.points; first += LANES)
    fit_block(in, first, static_cast<int>(std::min<ssize_t>(LANES, in.points - first)));
}

// A step of Gauss-Newton for LANES points, damped by a prior as wide as what the views show.
TARGET
inline double step_block(const MixtureArrays& in, ssize_t first, int lanes) {
  static const int kOf[6] = {0, 1, 2, 4, 5, 8};
  Symmetric h{}, inverse;
  V gradient[3] = {}, step[3];
  for (int l = 0; l < LANES; ++l) {
    const ssize_t k = first + std::min(l, lanes - 1);
    const double span = std::isfinite(in.span[k]) ? in.span[k] : 1.0;
    for (int a = 0; a < 6; ++a) h.m[a][l] = in.information[9 * k + kOf[a]];
    for (int a : {0, 3, 5}) h.m[a][l] += 1.0 / (span * span);
    for (int a = 0; a < 3; ++a) gradient[a][l] = in.gradient[3 * k + a];
  }
  invert(h, inverse);
  multiply(inverse, gradient, step);
  double longest = 0.0;
  for (int l = 0; l < lanes; ++l)
    for (int a = 0; a < 3; ++a) {
      if (!std::isfinite(step[a][l])) continue;
      in.at[3 * (first + l) + a] += step[a][l];
      longest = std::max(longest, std::fabs(step[a][l]));
    }
  return longest;
}

inline void fit_mixture(const MixtureArrays& in) {
  fit_at(in);
  for (ssize_t round = 0; round < in.rounds; ++round) {
    double longest = 0.0;
    for (ssize_t first = 0; first < in.points; first += LANES) {
      const int lanes = static_cast<int>(std::min<ssize_t>(LANES, in.points - first));
      longest = std::max(longest, step_block(in, first, lanes));
    }
    fit_at(in);
    if (longest < in.tolerance) break;
  }
}
