// The loop of kalman.py, by hand, with Eigen's matrices of fixed size.
#include <Eigen/Dense>
#include <cmath>
#include <cstdint>

template <int N>
static void kalman(int64_t n, const double* y, const double* f, const double* h, const double* q, const double* r,
                   const double* mean, const double* covariance, double* out) {
  using Square = Eigen::Matrix<double, N, N, Eigen::RowMajor>;
  using Wide = Eigen::Matrix<double, 2, N, Eigen::RowMajor>;
  using Tall = Eigen::Matrix<double, N, 2, Eigen::RowMajor>;
  using Small = Eigen::Matrix<double, 2, 2, Eigen::RowMajor>;
  const Square F = Eigen::Map<const Square>(f), Q = Eigen::Map<const Square>(q);
  const Wide H = Eigen::Map<const Wide>(h);
  const Small R = Eigen::Map<const Small>(r);
  Eigen::Matrix<double, N, 1> m = Eigen::Map<const Eigen::Matrix<double, N, 1>>(mean);
  Square P = Eigen::Map<const Square>(covariance);
  double total = 0;
  for (int64_t t = 0; t < n; ++t) {
    m = (F * m).eval();
    const Square FP = F * P;
    P = FP * F.transpose() + Q;
    const Eigen::Vector2d v = Eigen::Map<const Eigen::Vector2d>(y + 2 * t) - H * m;
    const Tall PH = P * H.transpose();
    const Small S = H * PH + R;
    const double determinant = S(0, 0) * S(1, 1) - S(0, 1) * S(1, 0);
    Small J;
    J << S(1, 1), -S(0, 1), -S(1, 0), S(0, 0);
    J /= determinant;
    const Tall K = PH * J;
    total -= 0.5 * (2 * std::log(2 * M_PI) + std::log(determinant) + v.dot(J * v));
    m += K * v;
    const Wide HP = H * P;
    P -= K * HP;
  }
  *out = total;
}

#define KALMAN(N)                                                                                          \
  extern "C" void kalman##N(int64_t n, const double* y, const double* f, const double* h, const double* q, \
                            const double* r, const double* m, const double* p, double* out) {              \
    kalman<N>(n, y, f, h, q, r, m, p, out);                                                                \
  }

KALMAN(4)
KALMAN(6)
