// Arrays as they come from Python. Those of torch give their shape through a table of C functions (DLPack 1.3), which
// takes a twentieth of the time of the protocol in Python; all others come through nanobind.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <utility>

namespace elman {

// What an array must be: all of it dense, or each of its rows.
enum class Dense { all, rows };

// An array of at most three dimensions in the memory of the processor; the caller keeps it alive.
template <class T, Dense dense>
class Array {
 public:
  static constexpr int most_dimensions = 3;

  T* data() const { return data_; }
  int ndim() const { return ndim_; }
  int64_t shape(int i) const { return shape_[i]; }
  int64_t stride(int i) const { return stride_[i]; }  // in elements

  size_t size() const {
    size_t n = 1;
    for (int i = 0; i < ndim_; ++i) n *= static_cast<size_t>(shape_[i]);
    return n;
  }

  // False where the array is not what it must be.
  bool read(const nanobind::dlpack::dltensor& from) {
    if (from.ndim > most_dimensions || from.device.device_type != nanobind::device::cpu::value || from.dtype != nanobind::dtype<T>()) return false;
    data_ = reinterpret_cast<T*>(static_cast<char*>(from.data) + from.byte_offset), ndim_ = from.ndim;
    int64_t next = 1;
    bool all = true, rows = true;
    for (int i = ndim_; i-- > 0; next *= shape_[i]) {
      shape_[i] = from.shape[i];
      stride_[i] = from.strides ? from.strides[i] : next;
      if (shape_[i] != 1 && stride_[i] != next) all = false, rows = rows && i + 1 < ndim_;
    }
    return all || size() == 0 || (dense == Dense::rows && rows);
  }

  // Never a converted copy, which results would be lost in.
  bool read(nanobind::handle from, nanobind::detail::cleanup_list* cleanup) {
    nanobind::dlpack::dltensor found;
    if (read_by_table(from, found)) return read(found);
    nanobind::detail::make_caster<Any> caster;
    if (!caster.from_python(from, 0, cleanup)) return false;
    held_ = caster.value;
    int64_t shape[most_dimensions], strides[most_dimensions];
    if (held_.ndim() > most_dimensions) return false;
    for (size_t i = 0; i < held_.ndim(); ++i) shape[i] = held_.shape(i), strides[i] = held_.stride(i);
    found.data = const_cast<std::remove_const_t<T>*>(held_.data()), found.ndim = static_cast<int32_t>(held_.ndim());
    found.device = {nanobind::device::cpu::value, 0}, found.dtype = nanobind::dtype<T>(), found.shape = shape, found.strides = strides;
    return read(found);
  }

 private:
  using Any = nanobind::ndarray<T, nanobind::device::cpu>;

  // The table begins with its version and a pointer to an older one; the fourth function fills a description.
  struct Table {
    uint32_t major, minor;
    void* older;
    void* others[3];
    int (*describe)(void* object, nanobind::dlpack::dltensor* out);
  };

  static bool read_by_table(nanobind::handle from, nanobind::dlpack::dltensor& out) {
    const nanobind::object capsule = nanobind::getattr(from.type(), "__dlpack_c_exchange_api__", nanobind::none());
    if (capsule.is_none()) return false;
    const auto* table = static_cast<const Table*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (!table || table->major != 1 || !table->describe || table->describe(from.ptr(), &out) != 0) {
      PyErr_Clear();
      return false;
    }
    return true;
  }

  T* data_ = nullptr;
  int ndim_ = 0;
  int64_t shape_[most_dimensions] = {}, stride_[most_dimensions] = {};
  Any held_;
};

}  // namespace elman

namespace nanobind::detail {

template <class T, elman::Dense dense>
struct type_caster<elman::Array<T, dense>> {
  using Type = elman::Array<T, dense>;
  NB_TYPE_CASTER(Type, const_name("array"))

  bool from_python(handle src, uint32_t, cleanup_list* cleanup) noexcept {
    try {
      return value.read(src, cleanup);
    } catch (...) {
      PyErr_Clear();
      return false;
    }
  }
};

}  // namespace nanobind::detail
