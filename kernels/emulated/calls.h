// Kernels by name, called with arguments that come as bytes: each says its type, and one that a
// kernel does not take at its place ends the launch.
#pragma once

#include <tuple>

#include "memory.h"

namespace emulated {

// As `Kind` and `Argument` of the launching side number them.
enum Kind : u8 { U32 = 1, I32, F32, U64, BF16, U8 };
constexpr u8 POINTER = 64;

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

// An argument: its kind, then eight bytes.
template <class T>
struct Take {
    static T from(Reader& reader, const Memory&) {
        u8 kind = reader.value<u8>();
        if (kind != kind_of<T>()) {
            fail("an argument is of kind %d: the kernel takes %d", kind, kind_of<T>());
        }
        u64 bits = reader.value<u64>();
        T value;
        memcpy(&value, &bits, sizeof(T));
        return value;
    }
};
template <class T>
struct Take<T*> {
    static T* from(Reader& reader, const Memory& memory) {
        using Element = std::remove_const_t<T>;
        u8 kind = reader.value<u8>(), expected = POINTER + kind_of<Element>();
        if (kind != expected) {
            fail("an argument is of kind %d: the kernel takes %d", kind, expected);
        }
        u64 address = reader.value<u64>();
        return address ? (T*)memory.at(address, 0) : nullptr;
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
