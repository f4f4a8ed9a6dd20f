#include <memory>
#include <vector>

namespace math {
namespace detail {

/// Adds up.
template <typename T, int N = 2>
T sum(const std::vector<T>& values) {
  T total{};
  for (const auto& value : values) total += value;
  return total;
}

}  // namespace detail

/** A vector.
 * \brief Of numbers.
 */
template <typename T>
class Vector : public Base<T> {
 public:
  explicit Vector(int n) : n_(n) {}
  virtual ~Vector() = default;

  // Scales it.
  Vector& operator*=(T factor) {
    for (int i = 0; i < n_; ++i) data_[i] *= factor;
    return *this;
  }

  static int count();

 private:
  struct Deleter {
    void operator()(T* data) const { delete[] data; }
  };
  int n_;
};

template <typename T>
int Vector<T>::count() {
  return 0;
}

enum class Color { kRed, kGreen };
using Row = Vector<double>;
constexpr auto square = [](auto x) { return x * x; };
}  // namespace math

extern "C" {
int add(int a, int b) { return a + b; }
}

int main(int argc, char** argv) {
  return math::Row(argc).count();
}
