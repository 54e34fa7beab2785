// Kernels by name, called with arguments that come as bytes: each says its type, and one that a
// kernel does not take at its place ends the launch.
#pragma once

#include <tuple>

#include "hopper.h"
#include "memory.h"

namespace emulated {

// As `Kind` and `Argument` of the launching side number them.
enum Kind : u8 { U32 = 1, I32, F32, U64, BF16, U8 };
constexpr u8 POINTER = 64, MAP = 128;

template <class T>
constexpr u8 kind_of();
template <>
constexpr u8 kind_of<u32>() { return U32; }
template <>
constexpr u8 kind_of<int>() { return I32; }
template <>
constexpr u8 kind_of<float>() { return F32; }
template <>
constexpr u8 kind_of<u64>() { return U64; }
template <>
constexpr u8 kind_of<bf16>() { return BF16; }
template <>
constexpr u8 kind_of<u8>() { return U8; }

// Bytes that come one after the other.
class Reader {
public:
    explicit Reader(std::vector<u8> bytes) : bytes(std::move(bytes)) {}

    const u8* next(size_t count) {
        if (bytes.size() - at < count) fail("a message is too short");
        at += count;
        return bytes.data() + at - count;
    }
    template <class T>
    T value() {
        T value;
        memcpy(&value, next(sizeof(T)), sizeof(T));
        return value;
    }
    std::string text() {
        u64 length = value<u64>();
        return std::string((const char*)next(length), length);
    }
    bool ended() const { return at == bytes.size(); }

private:
    std::vector<u8> bytes;
    size_t at = 0;
};

inline void expect_kind(Reader& reader, u8 expected) {
    u8 kind = reader.value<u8>();
    if (kind != expected) {
        fail("an argument is of kind %d: the kernel takes %d", kind, expected);
    }
}

// An argument: its kind, then eight bytes; more of a map.
template <class T>
struct Take {
    static T from(Reader& reader, const Memory&) {
        expect_kind(reader, kind_of<T>());
        u64 bits = reader.value<u64>();
        T value;
        memcpy(&value, &bits, sizeof(T));
        return value;
    }
};
template <class T>
struct Take<T*> {
    static T* from(Reader& reader, const Memory& memory) {
        expect_kind(reader, POINTER + kind_of<std::remove_const_t<T>>());
        u64 address = reader.value<u64>();
        return address ? (T*)memory.at(address, 0) : nullptr;
    }
};
template <>
struct Take<TensorMap> {
    static TensorMap from(Reader& reader, const Memory& memory) {
        expect_kind(reader, MAP);
        u64 address = reader.value<u64>(), columns = reader.value<u64>();
        u64 rows = reader.value<u64>(), apart = reader.value<u64>();
        u64 count = rows ? (rows - 1) * apart + columns : 0;
        return {(const bf16*)memory.at(address, sizeof(bf16) * count), columns, rows, apart};
    }
};

template <class... A>
std::function<void()> bind(void (*kernel)(A...), Reader& reader, const Memory& memory) {
    std::tuple<A...> values{Take<A>::from(reader, memory)...};
    if (!reader.ended()) fail("more arguments than the kernel takes");
    return [=] { std::apply(kernel, values); };
}

using Binding = std::function<std::function<void()>(Reader&, const Memory&)>;

template <class... A>
Binding binding(void (*kernel)(A...)) {
    return [=](Reader& reader, const Memory& memory) { return bind(kernel, reader, memory); };
}

} // namespace emulated
