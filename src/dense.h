// Symmetric positive definite systems of up to a few hundred unknowns. LAPACK would do, but its
// threads wait for each other on a busy machine: 20 ms for 15 unknowns were seen.

// The lower Cholesky factor in place; false where there is none. Zeros cost little.
TARGET
inline bool factorise(double* a, ssize_t n, double* column) {
  for (ssize_t j = 0; j < n; ++j) {
    if (!(a[j * n + j] > 0.0)) return false;
    const double pivot = std::sqrt(a[j * n + j]), inverse = 1.0 / pivot;
    a[j * n + j] = pivot;
    for (ssize_t i = j + 1; i < n; ++i) column[i] = a[i * n + j] *= inverse;
    for (ssize_t i = j + 1; i < n; ++i) {
      const double factor = column[i];
      double* row = a + i * n;
      if (factor != 0.0)
        for (ssize_t k = j + 1; k <= i; ++k) row[k] -= factor * column[k];
    }
  }
  return true;
}

// The solution in place of the right side, from the factor.
TARGET
inline void solve_factorised(const double* l, ssize_t n, double* x) {
  for (ssize_t i = 0; i < n; ++i) {
    for (ssize_t j = 0; j < i; ++j) x[i] -= l[i * n + j] * x[j];
    x[i] /= l[i * n + i];
  }
  for (ssize_t i = n; i-- > 0;) {
    x[i] /= l[i * n + i];
    for (ssize_t j = 0; j < i; ++j) x[j] -= l[i * n + j] * x[i];
  }
}

// The 3x3 blocks on the diagonal of the inverse, from the factor; `inverse` holds n * n zeros.
TARGET
inline void inverse_blocks(const double* l, ssize_t n, double* inverse, double* blocks) {
  for (ssize_t i = 0; i < n; ++i) {
    double* row = inverse + i * n;
    row[i] = 1.0;
    for (ssize_t j = 0; j < i; ++j) {
      const double factor = l[i * n + j];
      const double* other = inverse + j * n;
      if (factor != 0.0)
        for (ssize_t k = 0; k <= j; ++k) row[k] -= factor * other[k];
    }
    const double scale = 1.0 / l[i * n + i];
    for (ssize_t k = 0; k <= i; ++k) row[k] *= scale;
    for (ssize_t b = 0; 3 * b <= i; ++b)
      for (int p = 0; p < 3; ++p)
        for (int q = 0; q < 3; ++q) blocks[9 * b + 3 * p + q] += row[3 * b + p] * row[3 * b + q];
  }
}
