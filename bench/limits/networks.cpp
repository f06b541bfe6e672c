// The rate of Eigen's float products of the shape it likes best, one product per thread at a time.
#include <Eigen/Dense>
#include <algorithm>
#include <cstdint>

#include "threads.hpp"

static constexpr int64_t SIZE = 384;

extern "C" void products(int64_t multiplications, int64_t threads) {
  split(multiplications, threads, [](int64_t first, int64_t last) {
    thread_local const Eigen::MatrixXf a = Eigen::MatrixXf::Constant(SIZE, SIZE, 0.5f), b = a;
    thread_local Eigen::MatrixXf c(SIZE, SIZE);
    for (int64_t left = last - first; left > 0; left -= SIZE * SIZE * SIZE) {
      const int64_t columns = std::max<int64_t>(1, std::min(SIZE, left / (SIZE * SIZE)));
      c.leftCols(columns).noalias() = a * b.leftCols(columns);
    }
  });
}
