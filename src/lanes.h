// What the inner loops share, compiled for each width of vectors: LANES points go through every
// step side by side, one a lane; masks (-1 or 0 a lane) stand in for branches.
// No include guards: these files are included once for each width, each time in a namespace.

typedef double V __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t Mask __attribute__((vector_size(LANES * sizeof(double))));

INLINE bool any(const Mask& m) {
  int64_t found = 0;
  for (int l = 0; l < LANES; ++l) found |= m[l];
  return found != 0;
}

INLINE Mask finite(const V& a) { return a - a == 0.0; }
INLINE V where(const Mask& m, const V& a, const V& b) { return m ? a : b; }
INLINE V where(const Mask& m, const V& a, double b) { return m ? a : V{} + b; }

// As lens.distort: x, y become the distorted point; a, b, d are the symmetric Jacobian.
INLINE void distort(const Camera& c, V& x, V& y, V& a, V& b, V& d) {
  const double* k = c.k;
  const V r2 = x * x + y * y;
  V factor = 1.0 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]));
  V slope = k[0] + r2 * (2.0 * k[1] + 3.0 * r2 * k[4]);
  if (k[5] != 0.0 || k[6] != 0.0 || k[7] != 0.0) {
    const V bottom = 1.0 / (1.0 + r2 * (k[5] + r2 * (k[6] + r2 * k[7])));
    factor *= bottom;
    slope = (slope - factor * (k[5] + r2 * (2.0 * k[6] + 3.0 * r2 * k[7]))) * bottom;
  }
  const V bend = k[2] * y + k[3] * x;
  a = factor + 2.0 * (x * x * slope + bend + 2.0 * k[3] * x);
  b = 2.0 * (x * y * slope + k[2] * x + k[3] * y);
  d = factor + 2.0 * (y * y * slope + bend + 2.0 * k[2] * y);
  x = x * (factor + 2.0 * bend) + k[3] * r2;
  y = y * (factor + 2.0 * bend) + k[2] * r2;
}

INLINE bool is_ideal(const Camera& c) {
  return std::all_of(c.k, c.k + 8, [](double k) { return k == 0.0; });
}

// Newton's method from the distorted point; NaN where it does not converge inside the lens's range.
INLINE void undistort(const Camera& c, V& x, V& y) {
  if (is_ideal(c)) return;
  const V u = x, v = y;
  Mask far = finite(u + v);
  for (int i = 0; i < kMostUndistortions && any(far); ++i) {
    V px = x, py = y, a, b, d;
    distort(c, px, py, a, b, d);
    const V ex = px - u, ey = py - v;
    const double least = kUndistorted * kUndistorted;
    far = far & ~((ex * ex <= least) & (ey * ey <= least));
    const V scale = 1.0 / (a * d - b * b);
    x = where(far, x - (d * ex - b * ey) * scale, x);
    y = where(far, y - (a * ey - b * ex) * scale, y);
    far = far & finite(x + y);
  }
  const Mask good = ~far & (x * x + y * y <= c.limit_r2);
  x = where(good, x, kNaN);
  y = where(good, y, kNaN);
}

// What a camera sees of points, with d pixel / d point.
struct Sight {
  V u, v, depth;
  V ux, uy, uz, vx, vy, vz;
};

INLINE Sight project(const Camera& c, const V p[3]) {
  Sight s;
  const double* r = c.axes;
  const V x = p[0] - c.centre[0], y = p[1] - c.centre[1], z = p[2] - c.centre[2];
  s.depth = r[2] * x + r[5] * y + r[8] * z;
  const V inverse = where(s.depth > kMinDepth, 1.0 / s.depth, kNaN);
  V iu = (r[0] * x + r[3] * y + r[6] * z) * inverse;
  V iv = (r[1] * x + r[4] * y + r[7] * z) * inverse;
  V ux = (r[0] - iu * r[2]) * inverse, vx = (r[1] - iv * r[2]) * inverse;
  V uy = (r[3] - iu * r[5]) * inverse, vy = (r[4] - iv * r[5]) * inverse;
  V uz = (r[6] - iu * r[8]) * inverse, vz = (r[7] - iv * r[8]) * inverse;
  if (!is_ideal(c)) {
    iu = where(iu * iu + iv * iv > c.limit_r2, V{} + kNaN, iu);
    V a, b, d;
    distort(c, iu, iv, a, b, d);
    const V wx = a * ux + b * vx, wy = a * uy + b * vy, wz = a * uz + b * vz;
    vx = b * ux + d * vx, vy = b * uy + d * vy, vz = b * uz + d * vz;
    ux = wx, uy = wy, uz = wz;
  }
  s.u = iu * c.fx + c.cx, s.v = iv * c.fy + c.cy;
  s.ux = ux * c.fx, s.uy = uy * c.fx, s.uz = uz * c.fx;
  s.vx = vx * c.fy, s.vy = vy * c.fy, s.vz = vz * c.fy;
  return s;
}

// A symmetric 3x3 matrix: xx, xy, xz, yy, yz, zz.
struct Symmetric {
  V m[6];
};

// The inverse, and where the ratio of the eigenvalues stays below 1e12.
INLINE Mask invert(const Symmetric& a, Symmetric& inverse) {
  const V* m = a.m;
  V n[6] = {m[3] * m[5] - m[4] * m[4], m[2] * m[4] - m[1] * m[5], m[1] * m[4] - m[2] * m[3],
            m[0] * m[5] - m[2] * m[2], m[1] * m[2] - m[0] * m[4], m[0] * m[3] - m[1] * m[1]};
  const V determinant = m[0] * n[0] + m[1] * n[1] + m[2] * n[2];
  const Mask regular = (determinant > 0.0) &
      ((m[0] + m[3] + m[5]) * (n[0] + n[3] + n[5]) < 1e12 * determinant);
  const V scale = 1.0 / where(regular, determinant, 1.0);
  for (int i = 0; i < 6; ++i) inverse.m[i] = n[i] * scale;
  return regular;
}

INLINE void multiply(const Symmetric& a, const V b[3], V product[3]) {
  const V* m = a.m;
  product[0] = m[0] * b[0] + m[1] * b[1] + m[2] * b[2];
  product[1] = m[1] * b[0] + m[3] * b[1] + m[4] * b[2];
  product[2] = m[2] * b[0] + m[4] * b[1] + m[5] * b[2];
}
