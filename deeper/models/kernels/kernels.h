// What the kernels share. T is what tensors hold (float, bf16 or double), Sum<T> what is computed in: float for the
// first two, double for double. No header of PyTorch is used: `library.py` passes addresses, so that one source serves
// every version.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

using Index = std::int64_t;

struct bf16 {
    std::uint16_t bits;
};

template <typename T>
struct Computed {
    using Type = T;
};
template <>
struct Computed<bf16> {
    using Type = float;
};
template <typename T>
using Sum = typename Computed<T>::Type;

inline double load(double value) { return value; }
inline float load(float value) { return value; }
inline float load(bf16 value) {
    const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

inline void store(double &target, double value) { target = value; }
inline void store(float &target, float value) { target = value; }
inline void store(bf16 &target, float value) {  // to the nearest, ties to even; a NaN stays one
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    target.bits = static_cast<std::uint16_t>(value == value ? rounded : 0x7fc0);
}

// A vector, also where the processor's are shorter: the compiler takes several then.
constexpr Index LANES = 16;
typedef float Lanes __attribute__((vector_size(LANES * 4)));

inline Lanes at(const float *from) {
    Lanes result;
    std::memcpy(&result, from, sizeof result);
    return result;
}
inline void put(float *to, Lanes values) { std::memcpy(to, &values, sizeof values); }

// What an output of a 2 × 2 pool remembers instead of its place among four, when ReLU cut it off.
constexpr std::uint8_t CUT = 4;

// How `library.py` names T.
enum Kind { FLOAT = 0, BF16 = 1, DOUBLE = 2 };
