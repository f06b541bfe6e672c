// The loop of lorenz.py, by hand; `stride` elements lie between the results of two steps.
#include <cstdint>

struct Point {
  double x, y, z;
};

static inline Point slope(Point p) {
  return {10.0 * (p.y - p.x), p.x * (28.0 - p.z) - p.y, p.x * p.y - 8.0 / 3.0 * p.z};
}
static inline Point along(Point p, double h, Point d) { return {p.x + h * d.x, p.y + h * d.y, p.z + h * d.z}; }

extern "C" void lorenz(int64_t n, double x, double y, double z, double* xs, double* ys, double* zs,
                       int64_t stride) {
  const double h = 1e-4;
  Point p{x, y, z};
  for (int64_t t = 0; t < n; ++t) {
    const Point a = slope(p), b = slope(along(p, h / 2, a)), c = slope(along(p, h / 2, b)),
                d = slope(along(p, h, c));
    p = along(p, h / 6,
              {a.x + 2 * b.x + 2 * c.x + d.x, a.y + 2 * b.y + 2 * c.y + d.y, a.z + 2 * b.z + 2 * c.z + d.z});
    xs[t * stride] = p.x;
    ys[t * stride] = p.y;
    zs[t * stride] = p.z;
  }
}
