// A device for tests: holds memory and runs kernels on the processor, as it is told over a pipe.
//
// A message is a letter, a length (u64) and as many bytes; so is the answer: `=` and what was asked
// for, or `!` and why not, after which the process ends. Numbers are little-endian.
#include <csignal>

#include "calls.h"
#include "instructions.h"
#include "kernels.h"
#include "threads.cpp"

namespace emulated {

static std::string launching;

static void answer(char letter, const void* bytes, u64 length) {
    fwrite(&letter, 1, 1, stdout);
    fwrite(&length, 8, 1, stdout);
    if (length) fwrite(bytes, 1, length, stdout);
    fflush(stdout);
}

void fail(const char* format, ...) {
    char text[1024], where[256] = "";
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    if (block) {
        const Index &b = block->index, &t = current->index;
        snprintf(where, sizeof(where), "%s, block (%u, %u, %u), thread (%u, %u, %u): ",
                 launching.c_str(), b.x, b.y, b.z, t.x, t.y, t.z);
    }
    std::string all = std::string(where) + text;
    answer('!', all.data(), all.size());
    _exit(1);
}

static void on_fault(int, siginfo_t* fault, void*) {
    fail("touches %llx, which is no buffer's", (u64)fault->si_addr);
}

// A stack of its own for the handler: a thread may have run over its own.
static void watch_faults() {
    static u8 stack[64 << 10];
    stack_t handlers{};
    handlers.ss_sp = stack;
    handlers.ss_size = sizeof(stack);
    sigaltstack(&handlers, nullptr);
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
}

static Index read_index(Reader& message) {
    u32 x = message.value<u32>(), y = message.value<u32>(), z = message.value<u32>();
    return {x, y, z};
}

// Blocks go in the order of their threads, too: no block may wait for another.
static void run_grid(const Block& like, u32 memory_bytes) {
    static u64 number = 0;
    u32 blocks = like.grid.x * like.grid.y * like.grid.z;
    for (u32 i = 0; i < blocks; i++) {
        u32 at = like.order.seed == 1 ? blocks - 1 - i : i;
        Block now = like;
        now.number = ++number;
        now.index = {at % like.grid.x, at / like.grid.x % like.grid.y,
                     at / like.grid.x / like.grid.y};
        run_block(now, memory_bytes);
    }
}

// Name, grid, block, bytes of launch memory, seed, eager, the site to leave out, arguments; the
// answer is the sites that threads waited at, a line each.
static void launch(Reader& message, const Memory& memory) {
    launching = message.text();
    auto found = kernels().find(launching);
    if (found == kernels().end()) fail("no kernel is called %s", launching.c_str());
    Block like;
    like.grid = read_index(message);
    like.size = read_index(message);
    u32 memory_bytes = message.value<u32>();
    like.order.seed = message.value<u32>();
    like.order.eager = message.value<u32>();
    Site::without() = message.text();
    for (Site* site : Site::all()) {
        site->seen = false;
        site->removed = Site::without() == site->place;
    }
    std::function<void()> body = found->second(message, memory);
    like.body = &body;
    run_grid(like, memory_bytes);
    std::string seen;
    for (Site* site : Site::all()) {
        if (site->seen) seen += std::string(site->place) + "\n";
    }
    answer('=', seen.data(), seen.size());
}

// A matrix whose rows, as it lies, are some numbers apart.
template <class T>
struct Matrix {
    T* numbers;
    u64 apart;
    bool turned;

    T& at(u64 row, u64 column) const {
        return turned ? numbers[column * apart + row] : numbers[row * apart + column];
    }
};

template <class T>
static Matrix<T> matrix(Reader& message, const Memory& memory, u64 high, u64 wide, u64 apart,
                        bool turned) {
    u64 count = turned ? (wide - 1) * apart + high : (high - 1) * apart + wide;
    return {(T*)memory.at(message.value<u64>(), sizeof(T) * count), apart, turned};
}

static float wide(bf16 x) { return float_of((u32)x.bits << 16); }

static float wide(float x) { return x; }

// An FP8 number (E4M3).
static float wide(u8 x) {
    int exponent = x >> 3 & 15, fraction = x & 7;
    float size = exponent ? ldexpf(8.0f + fraction, exponent - 10) : ldexpf(fraction, -9);
    if ((x & 0x7f) == 0x7f) size = NAN;
    return x >> 7 ? -size : size;
}

// c (rows, outputs) = scale · a (rows, inputs) · b (outputs, inputs)ᵀ, or += that; sums f32.
template <class A, class C>
static void product(Reader& message, const Memory& memory) {
    u64 numbers[10];
    for (u64& number : numbers) number = message.value<u64>();
    auto [rows, outputs, inputs, a_apart, b_apart, c_apart, a_turned, b_turned, add, bits] =
        numbers;
    auto a = matrix<A>(message, memory, rows, inputs, a_apart, a_turned);
    auto b = matrix<A>(message, memory, outputs, inputs, b_apart, b_turned);
    auto c = matrix<C>(message, memory, rows, outputs, c_apart, false);
    for (u64 row = 0; row < rows; row++) {
        for (u64 output = 0; output < outputs; output++) {
            float sum = 0.0f;
            for (u64 i = 0; i < inputs; i++) sum += wide(a.at(row, i)) * wide(b.at(output, i));
            sum *= float_of((u32)bits);
            C& to = c.at(row, output);
            if constexpr (sizeof(C) == 2) {
                to = to_bf16(add ? wide(to) + sum : sum);
            } else {
                to = add ? to + sum : sum;
            }
        }
    }
}

static void obey(char letter, Reader& message, Memory& memory) {
    if (letter == 'L') return launch(message, memory);
    if (letter == 'T') {
        u64 address = memory.take(message.value<u64>());
        return answer('=', &address, sizeof(address));
    }
    if (letter == 'D') {
        u64 address = message.value<u64>(), bytes = message.value<u64>();
        return answer('=', memory.at(address, bytes), bytes);
    }
    if (letter == 'G') {
        memory.give_back(message.value<u64>());
    } else if (letter == 'U') {
        u64 address = message.value<u64>(), bytes = message.value<u64>();
        memcpy(memory.at(address, bytes), message.next(bytes), bytes);
    } else if (letter == 'P') {
        product<bf16, bf16>(message, memory);
    } else if (letter == 'Q') {
        product<bf16, float>(message, memory);
    } else if (letter == '8') {
        product<u8, bf16>(message, memory);
    } else if (letter == 'F') {
        product<float, float>(message, memory);
    } else {
        fail("no message begins with %d", letter);
    }
    answer('=', nullptr, 0);
}

} // namespace emulated

int main() {
    emulated::watch_faults();
    emulated::Memory memory;
    char letter;
    u64 length;
    while (fread(&letter, 1, 1, stdin) == 1 && fread(&length, 8, 1, stdin) == 1) {
        std::vector<u8> bytes(length);
        if (length && fread(bytes.data(), length, 1, stdin) != 1) return 1;
        emulated::Reader message(std::move(bytes));
        emulated::obey(letter, message, memory);
    }
}
