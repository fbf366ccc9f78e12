// Lets a process use AMX tiles and AVX512-BF16 on a processor with AVX-512 but without these: see README.md.
//
// cpuid is made to fault (arch_prctl ARCH_SET_CPUID), so that the answers can be amended; the instructions themselves are undefined
// here, and the signal that they raise is where they are carried out, on the registers that the signal frame holds.
// The order of additions and the treatment of subnormal numbers are those of Intel's description of the instructions.
//
//   gcc -O3 -march=native -shared -fPIC -o amx.so amx.c -ldl

#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <errno.h>
#include <immintrin.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SET_CPUID 0x1012
#define SUPPORTED_COMPONENTS 0x1021
#define REQUEST_COMPONENT 0x1023
#define TILE_DATA 18

typedef struct { uint8_t bytes[64]; } Row;

typedef struct {
    uint8_t config[64];
    Row tiles[8][16];
} Tiles;

static __thread Tiles tiles __attribute__((tls_model("initial-exec"), aligned(64)));
static struct sigaction theirs[65];
static int (*real_sigaction)(int, const struct sigaction *, struct sigaction *);
static void *(*real_dlopen)(const char *, int);
static unsigned opmask_offset, high256_offset, high16_offset;
static int has_vnni;

static void fail(const char *what, const uint8_t *at) {
    fprintf(stderr, "amx emulation: %s at %p:", what, (const void *)at);
    for (int i = 0; i < 12; i++) fprintf(stderr, " %02x", at[i]);
    fputc('\n', stderr);
    abort();
}

// ---- registers in the signal frame ----

static uint64_t *general(ucontext_t *context, int index) {
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return (uint64_t *)&context->uc_mcontext.gregs[order[index]];
}

static uint8_t *frame(ucontext_t *context) { return (uint8_t *)context->uc_mcontext.fpregs; }
static uint64_t *present(ucontext_t *context) { return (uint64_t *)(frame(context) + 512); }

// A component that is not marked as present holds its initial value, zero, whatever the frame says.
static void make_present(ucontext_t *context) {
    static const struct { int bit; unsigned from, bytes; } parts[] = {{1, 160, 256}, {2, 576, 256}};
    uint64_t *bits = present(context);
    for (int i = 0; i < 2; i++)
        if (!(*bits & (1ull << parts[i].bit))) memset(frame(context) + parts[i].from, 0, parts[i].bytes);
    if (!(*bits & (1ull << 5))) memset(frame(context) + opmask_offset, 0, 64);
    if (!(*bits & (1ull << 6))) memset(frame(context) + high256_offset, 0, 512);
    if (!(*bits & (1ull << 7))) memset(frame(context) + high16_offset, 0, 1024);
    *bits |= 0xE6;
}

static void read_vector(ucontext_t *context, int index, void *to) {
    uint8_t *from = frame(context);
    if (index >= 16) { memcpy(to, from + high16_offset + 64 * (index - 16), 64); return; }
    memcpy(to, from + 160 + 16 * index, 16);
    memcpy((uint8_t *)to + 16, from + 576 + 16 * index, 16);
    memcpy((uint8_t *)to + 32, from + high256_offset + 32 * index, 32);
}

static void write_vector(ucontext_t *context, int index, const void *value) {
    uint8_t *to = frame(context);
    if (index >= 16) { memcpy(to + high16_offset + 64 * (index - 16), value, 64); return; }
    memcpy(to + 160 + 16 * index, value, 16);
    memcpy(to + 576 + 16 * index, (const uint8_t *)value + 16, 16);
    memcpy(to + high256_offset + 32 * index, (const uint8_t *)value + 32, 32);
}

// ---- decoding ----

typedef struct {
    int opcode, map, prefix, wide, reg, vvvv, rm, is_memory, length;
    int mask, zeroing, broadcast, vector_bytes;
    uint64_t address;          // base + index + displacement
    uint64_t base_address;     // without the index: where the first row of a tile lies
    uint64_t stride;           // the scaled index: bytes from one row of a tile to the next
} Instruction;

// ModRM, SIB and displacement, from `at` on; `scale` multiplies displacements of one byte (EVEX). Returns the bytes taken.
static int decode_operand(ucontext_t *context, const uint8_t *at, int reg_high, int index_high, int base_high, int scale, Instruction *out) {
    int mod = at[0] >> 6, rm = at[0] & 7, length = 1;
    out->reg = ((at[0] >> 3) & 7) | reg_high;
    out->is_memory = mod != 3;
    out->rm = rm | base_high;
    out->stride = 0;
    if (mod == 3) return length;
    uint64_t address = 0;
    int relative = 0;
    if (rm == 4) {
        uint8_t sib = at[length++];
        int index = ((sib >> 3) & 7) | index_high, base = (sib & 7) | base_high;
        if (index != 4) out->stride = *general(context, index) << (sib >> 6);
        if ((sib & 7) == 5 && mod == 0) { int32_t d; memcpy(&d, at + length, 4); length += 4; address = (int64_t)d; }
        else address = *general(context, base);
    } else if (rm == 5 && mod == 0) {
        int32_t d; memcpy(&d, at + length, 4); length += 4;
        address = (int64_t)d; relative = 1;
    } else address = *general(context, rm | base_high);
    if (mod == 1) { address += (int64_t)(int8_t)at[length] * scale; length += 1; }
    if (mod == 2) { int32_t d; memcpy(&d, at + length, 4); length += 4; address += (int64_t)d; }
    if (relative) address += (uint64_t)(at + length);
    out->base_address = address;
    out->address = address + out->stride;
    return length;
}

// 1: an instruction on tiles; 2: one on vectors; 0: neither.
static int decode(ucontext_t *context, const uint8_t *at, Instruction *out) {
    memset(out, 0, sizeof *out);
    if (at[0] == 0xC4) {
        out->map = at[1] & 31;
        if (out->map != 2) return 0;
        out->opcode = at[3];
        out->prefix = at[2] & 3;
        out->wide = at[2] >> 7;
        out->vvvv = (~at[2] >> 3) & 15;
        if (out->opcode != 0x49 && out->opcode != 0x4B && out->opcode != 0x5C && out->opcode != 0x5E) return 0;
        if (out->wide || (at[2] & 4)) return 0;
        out->length = 4 + decode_operand(context, at + 4, (at[1] & 0x80) ? 0 : 8, (at[1] & 0x40) ? 0 : 8, (at[1] & 0x20) ? 0 : 8, 1, out);
        return 1;
    }
    if (at[0] == 0x62) {
        out->map = at[1] & 7;
        out->prefix = at[2] & 3;
        out->wide = at[2] >> 7;
        out->opcode = at[4];
        if (out->map != 2 || out->wide || (out->opcode != 0x52 && out->opcode != 0x72)) return 0;
        if ((at[3] & 0x60) == 0x60) return 0;
        out->vector_bytes = 16 << ((at[3] >> 5) & 3);
        out->broadcast = (at[3] >> 4) & 1;
        out->zeroing = at[3] >> 7;
        out->mask = at[3] & 7;
        out->vvvv = ((~at[2] >> 3) & 15) | ((at[3] & 8) ? 0 : 16);
        int reg_high = ((at[1] & 0x80) ? 0 : 8) | ((at[1] & 0x10) ? 0 : 16);
        out->length = 5 + decode_operand(context, at + 5, reg_high, (at[1] & 0x40) ? 0 : 8, (at[1] & 0x20) ? 0 : 8,
                                         out->broadcast ? 4 : out->vector_bytes, out);
        if (!out->is_memory) out->rm |= (at[1] & 0x40) ? 0 : 16;
        return 2;
    }
    return 0;
}

// ---- tiles ----

static int rows_of(int tile) { return tiles.config[48 + tile]; }
static int bytes_of(int tile) { return tiles.config[16 + 2 * tile] | tiles.config[17 + 2 * tile] << 8; }

static void need(int holds, const char *what, const uint8_t *at) {
    if (!holds) fail(what, at);
}

static void need_tile(int tile, const uint8_t *at) {
    need(tile < 8 && tiles.config[0] == 1 && rows_of(tile) && bytes_of(tile), "tile without a configuration", at);
}

static void multiply_bfloat16(int to, int a, int b) {
    int rows = rows_of(to), steps = bytes_of(a) / 4;
    const __m512i odd_bits = _mm512_set1_epi32((int)0xFFFF0000);
    __m512 even_rows[16], odd_rows[16];
    for (int k = 0; k < steps; k++) {
        __m512i row = _mm512_loadu_si512(&tiles.tiles[b][k]);
        even_rows[k] = _mm512_castsi512_ps(_mm512_slli_epi32(row, 16));
        odd_rows[k] = _mm512_castsi512_ps(_mm512_and_si512(row, odd_bits));
    }
    __mmask16 columns = (__mmask16)((1u << (bytes_of(to) / 4)) - 1);
    for (int m = 0; m < rows; m++) {
        __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
        for (int k = 0; k < steps; k++) {
            uint32_t pair;
            memcpy(&pair, tiles.tiles[a][m].bytes + 4 * k, 4);
            even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32((int)(pair << 16))), even_rows[k], even);
            odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32((int)(pair & 0xFFFF0000))), odd_rows[k], odd);
        }
        __m512 sum = _mm512_add_ps(_mm512_loadu_ps(&tiles.tiles[to][m]), _mm512_add_ps(even, odd));
        _mm512_mask_storeu_ps(&tiles.tiles[to][m], columns, sum);
    }
}

// Signed numbers by signed ones as unsigned by signed: 128 is added to the former, and what that adds to the sums is taken off.
__attribute__((target("avx512vnni"))) static void multiply_signed_bytes(int to, int a, int b) {
    int rows = rows_of(to), steps = bytes_of(a) / 4;
    const __m512i signs = _mm512_set1_epi32((int)0x80808080);
    __m512i excess = _mm512_setzero_si512(), b_rows[16];
    for (int k = 0; k < steps; k++) {
        b_rows[k] = _mm512_loadu_si512(&tiles.tiles[b][k]);
        excess = _mm512_dpbusd_epi32(excess, signs, b_rows[k]);
    }
    __mmask16 columns = (__mmask16)((1u << (bytes_of(to) / 4)) - 1);
    for (int m = 0; m < rows; m++) {
        __m512i sum = _mm512_sub_epi32(_mm512_loadu_si512(&tiles.tiles[to][m]), excess);
        for (int k = 0; k < steps; k++) {
            int32_t four;
            memcpy(&four, tiles.tiles[a][m].bytes + 4 * k, 4);
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(_mm512_set1_epi32(four), signs), b_rows[k]);
        }
        _mm512_mask_storeu_epi32(&tiles.tiles[to][m], columns, sum);
    }
}

static void multiply_bytes(int to, int a, int b, int a_signed, int b_signed) {
    if (a_signed && b_signed && has_vnni) { multiply_signed_bytes(to, a, b); return; }
    int rows = rows_of(to), steps = bytes_of(a) / 4, columns = bytes_of(to) / 4;
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < columns; n++) {
            int32_t sum;
            memcpy(&sum, tiles.tiles[to][m].bytes + 4 * n, 4);
            for (int k = 0; k < 4 * steps; k++) {
                uint8_t x = tiles.tiles[a][m].bytes[k], y = tiles.tiles[b][k / 4].bytes[4 * n + k % 4];
                sum += (a_signed ? (int8_t)x : x) * (b_signed ? (int8_t)y : y);
            }
            memcpy(tiles.tiles[to][m].bytes + 4 * n, &sum, 4);
        }
}

static void run_tile(const Instruction *i, const uint8_t *at) {
    enum { None, P66, PF3, PF2 };
    if (i->opcode == 0x49) {
        if (i->is_memory && i->prefix == None) {
            memcpy(tiles.config, (void *)i->address, 64);
            memset(tiles.tiles, 0, sizeof tiles.tiles);
            need(tiles.config[0] <= 1 && tiles.config[1] == 0, "a tile configuration that the processor refuses", at);
            for (int t = 0; t < 8; t++) need(rows_of(t) <= 16 && bytes_of(t) <= 64 && !rows_of(t) == !bytes_of(t), "a tile configuration that the processor refuses", at);
        } else if (i->is_memory && i->prefix == P66) memcpy((void *)i->address, tiles.config, 64);
        else if (!i->is_memory && i->prefix == None) memset(&tiles, 0, sizeof tiles);
        else if (!i->is_memory && i->prefix == PF2) { need_tile(i->reg, at); memset(tiles.tiles[i->reg], 0, sizeof tiles.tiles[0]); }
        else fail("unknown instruction", at);
        return;
    }
    if (i->opcode == 0x4B) {
        need(i->is_memory, "unknown instruction", at);
        need_tile(i->reg, at);
        int rows = rows_of(i->reg), bytes = bytes_of(i->reg);
        if (i->prefix == PF3) {
            for (int r = 0; r < rows; r++) memcpy((uint8_t *)i->base_address + r * i->stride, &tiles.tiles[i->reg][r], bytes);
            return;
        }
        need(i->prefix == PF2 || i->prefix == P66, "unknown instruction", at);
        memset(tiles.tiles[i->reg], 0, sizeof tiles.tiles[0]);
        for (int r = 0; r < rows; r++) memcpy(&tiles.tiles[i->reg][r], (uint8_t *)i->base_address + r * i->stride, bytes);
        return;
    }
    int to = i->reg, a = i->rm, b = i->vvvv;
    need(!i->is_memory, "unknown instruction", at);
    need_tile(to, at), need_tile(a, at), need_tile(b, at);
    need(to != a && to != b && a != b, "a product of a tile with itself", at);
    need(rows_of(to) == rows_of(a) && bytes_of(to) == bytes_of(b) && bytes_of(a) == 4 * rows_of(b) && bytes_of(a) % 4 == 0, "tiles whose shapes do not fit", at);
    if (i->opcode == 0x5C && i->prefix == PF3) multiply_bfloat16(to, a, b);
    else if (i->opcode == 0x5E) multiply_bytes(to, a, b, i->prefix == PF2 || i->prefix == PF3, i->prefix == PF2 || i->prefix == P66);
    else fail("unknown instruction", at);
}

// ---- vectors ----

static uint16_t round_bfloat16(uint32_t bits) {
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(bits >> 16 | 0x40);
    if (!(bits & 0x7F800000)) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static void run_vector(ucontext_t *context, const Instruction *i, const uint8_t *at) {
    enum { None, P66, PF3, PF2 };
    make_present(context);
    int bytes = i->vector_bytes & 0x70;
    uint8_t last[64] = {0};
    if (!i->is_memory) read_vector(context, i->rm, last);
    else if (i->broadcast) for (int e = 0; e < 64; e += 4) memcpy(last + e, (void *)i->address, 4);
    else memcpy(last, (void *)i->address, bytes);
    uint8_t first[64], old[64], result[64] = {0};
    read_vector(context, i->vvvv, first);
    read_vector(context, i->reg, old);
    uint64_t mask = ~0ull;
    if (i->mask) memcpy(&mask, frame(context) + opmask_offset + 8 * i->mask, 8);
    int element, produced = bytes;
    if (i->opcode == 0x52 && i->prefix == PF3) {
        element = 4;
        __m512i a = _mm512_loadu_si512(first), b = _mm512_loadu_si512(last);
        const __m512i odd = _mm512_set1_epi32((int)0xFFFF0000);
        __m512 sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a, odd)), _mm512_castsi512_ps(_mm512_and_si512(b, odd)), _mm512_loadu_ps(old));
        sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)), _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)), sum);
        _mm512_storeu_ps(result, sum);
    } else if (i->opcode == 0x72 && (i->prefix == PF3 || i->prefix == PF2)) {
        element = 2;
        int two = i->prefix == PF2;
        produced = two ? bytes : bytes / 2;
        for (int e = 0; e < bytes / 4; e++) {
            uint32_t bits;
            memcpy(&bits, last + 4 * e, 4);
            uint16_t rounded = round_bfloat16(bits);
            memcpy(result + 2 * e, &rounded, 2);
            if (two) {
                memcpy(&bits, first + 4 * e, 4);
                rounded = round_bfloat16(bits);
                memcpy(result + bytes / 2 + 2 * e, &rounded, 2);
            }
        }
    } else fail("unknown instruction", at);
    for (int e = 0; e < produced / element; e++)
        if (!(mask >> e & 1)) {
            if (i->zeroing) memset(result + e * element, 0, element);
            else memcpy(result + e * element, old + e * element, element);
        }
    memset(result + produced, 0, 64 - produced);
    write_vector(context, i->reg, result);
}

// ---- signals ----

// What this process would do without us.
static void pass_on(int signal, siginfo_t *info, void *context) {
    struct sigaction *action = &theirs[signal];
    if (action->sa_flags & SA_SIGINFO) action->sa_sigaction(signal, info, context);
    else if (action->sa_handler == SIG_DFL) { struct sigaction none = {.sa_handler = SIG_DFL}; real_sigaction(signal, &none, 0); }
    else if (action->sa_handler != SIG_IGN) action->sa_handler(signal);
}

static void on_undefined(int signal, siginfo_t *info, void *raw) {
    ucontext_t *context = raw;
    unsigned modes = _mm_getcsr();
    _mm_setcsr(0x9FC0);                              // no exceptions, subnormal inputs and results are zero
    int done = 0;
    for (;; done++) {                                // what follows is often of the same kind: one signal for all of it
        const uint8_t *at = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
        Instruction instruction;
        int kind = decode(context, at, &instruction);
        if (!kind) break;
        if (kind == 1) run_tile(&instruction, at);
        else run_vector(context, &instruction, at);
        context->uc_mcontext.gregs[REG_RIP] += instruction.length;
    }
    _mm_setcsr(modes);
    if (!done) pass_on(signal, info, raw);
}

static void on_fault(int signal, siginfo_t *info, void *raw) {
    ucontext_t *context = raw;
    const uint8_t *at = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
    if (info->si_code != SI_KERNEL || info->si_addr || at[0] != 0x0F || at[1] != 0xA2) { pass_on(signal, info, raw); return; }
    unsigned leaf = (unsigned)*general(context, 0), part = (unsigned)*general(context, 1), a, b, c, d;
    syscall(SYS_arch_prctl, SET_CPUID, 1);
    __cpuid_count(leaf, part, a, b, c, d);
    syscall(SYS_arch_prctl, SET_CPUID, 0);
    if (leaf == 7 && part == 0) { if (a < 1) a = 1; d |= 1u << 22 | 1u << 24 | 1u << 25; }
    if (leaf == 7 && part == 1) a |= 1u << 5;
    *general(context, 0) = a, *general(context, 3) = b, *general(context, 1) = c, *general(context, 2) = d;
    context->uc_mcontext.gregs[REG_RIP] += 2;
}

static void install(int signal, const struct sigaction *wanted) {
    struct sigaction action = *wanted;
    action.sa_sigaction = signal == SIGILL ? on_undefined : on_fault;
    action.sa_flags = (action.sa_flags | SA_SIGINFO | SA_ONSTACK) & ~SA_RESETHAND;
    real_sigaction(signal, &action, 0);
}

int sigaction(int signal, const struct sigaction *wanted, struct sigaction *old) {
    if (!real_sigaction) real_sigaction = dlsym(RTLD_NEXT, "sigaction");
    if (signal != SIGILL && signal != SIGSEGV) return real_sigaction(signal, wanted, old);
    if (old) *old = theirs[signal];
    if (wanted) { theirs[signal] = *wanted; install(signal, wanted); }
    return 0;
}

long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (!real) real = dlsym(RTLD_NEXT, "syscall");
    va_list list;
    va_start(list, number);
    long x[6];
    for (int i = 0; i < 6; i++) x[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_arch_prctl && x[0] == SUPPORTED_COMPONENTS) { *(uint64_t *)x[1] = 1ull << TILE_DATA | 0xE7; return 0; }
    if (number == SYS_arch_prctl && x[0] == REQUEST_COMPONENT) return 0;
    return real(number, x[0], x[1], x[2], x[3], x[4], x[5]);
}

// .NET looks "syscall" up in libc by its handle; ours goes first in the handle of this library, which libc follows.
void *dlopen(const char *name, int flags) {
    if (!real_dlopen) real_dlopen = dlsym(RTLD_NEXT, "dlopen");
    Dl_info here;
    if (name && (!strcmp(name, "libc.so.6") || !strcmp(name, "libc")) && dladdr((void *)dlopen, &here)) name = here.dli_fname;
    return real_dlopen(name, flags);
}

__attribute__((constructor)) static void begin(void) {
    unsigned size, c, d;
    __cpuid_count(0xD, 5, size, opmask_offset, c, d);
    __cpuid_count(0xD, 6, size, high256_offset, c, d);
    __cpuid_count(0xD, 7, size, high16_offset, c, d);
    if (!__builtin_cpu_supports("avx512bw")) { fprintf(stderr, "amx emulation: this processor has no AVX-512\n"); return; }
    has_vnni = __builtin_cpu_supports("avx512vnni");
    real_sigaction = dlsym(RTLD_NEXT, "sigaction");
    struct sigaction plain = {.sa_handler = SIG_DFL};
    theirs[SIGILL] = theirs[SIGSEGV] = plain;
    install(SIGILL, &plain);
    install(SIGSEGV, &plain);
    if (syscall(SYS_arch_prctl, SET_CPUID, 0)) fprintf(stderr, "amx emulation: the system does not let cpuid fault; nothing is emulated\n");
}
