/* Lengths and block ends of x86 instructions, as Unicorn 2.1.4's translator sees them (Intel SDM vol. 2, 2.1 and
   appendix A): enough to walk straight-line code, nothing more. */

#ifndef SANDBOX_X86_H
#define SANDBOX_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { X86_PLAIN, X86_ENDS_BLOCK, X86_VEX };

struct x86_instruction {
    uint8_t length; /* 0: runs over the bytes given, or more than 15 */
    uint8_t kind;
    uint8_t map;     /* 0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a */
    uint8_t opcode, modrm;
    uint8_t prefix; /* 0x66, 0xf2, 0xf3 or 0 */
    bool avx;       /* VEX-coded, 128 bits, and not one of the BMI instructions on general registers */
};

/* For each opcode: m has a ModRM byte; b, w, z, v, a, p, e its immediate (8, 16, operand size up to 32, up to 64,
   address size, far pointer, enter); j ends a block; x a prefix or escape, handled before. */
static const char *const x86_one_byte[256] = {
#define R8(a) a, a, a, a, a, a, a, a
#define ALU "m", "m", "m", "m", "b", "z", "", ""
    ALU, ALU, ALU, ALU, ALU, ALU, ALU, ALU,                     /* 00 */
    R8(""), R8(""), R8(""), R8(""),                             /* 40 */
    "", "", "m", "m", "x", "x", "x", "x", "z", "mz", "b", "mb", "", "", "", "", /* 60 */
    R8("bj"), R8("bj"),                                         /* 70 */
    "mb", "mz", "mb", "mb", "m", "m", "m", "m", R8("m"),         /* 80 */
    R8(""), "", "", "pj", "", "", "", "", "",                   /* 90 */
    "a", "a", "a", "a", "", "", "", "", "b", "z", "", "", "", "", "", "", /* a0 */
    R8("b"), R8("v"),                                           /* b0 */
    "mb", "mb", "wj", "j", "m", "m", "mb", "mz", "e", "", "wj", "j", "j", "bj", "", "j", /* c0 */
    "m", "m", "m", "m", "b", "b", "", "", R8("m"),              /* d0 */
    "bj", "bj", "bj", "bj", "b", "b", "b", "b", "zj", "zj", "pj", "bj", "", "", "", "", /* e0 */
    "x", "j", "x", "x", "j", "", "m", "m", "", "", "", "", "", "", "m", "m", /* f0 */
};

static struct x86_instruction x86_decode(const uint8_t *code, size_t available, bool long_mode)
{
    struct x86_instruction in = {0};
    size_t at = 0;
    bool operand16 = false, address_small = false, wide = false, repne = false;
    const char *shape = "m";
#define NEED(n)                        \
    do {                               \
        if (at + (n) > available || at + (n) > 15) \
            return in;                 \
    } while (0)
    for (;; at++) {
        NEED(1);
        uint8_t byte = code[at];
        if (byte == 0x66) {
            operand16 = true;
            if (!in.prefix)
                in.prefix = byte;
        } else if (byte == 0x67)
            address_small = true;
        else if (byte == 0xf2 || byte == 0xf3) {
            in.prefix = byte;
            repne |= byte == 0xf2;
        } else if (long_mode && (byte & 0xf0) == 0x40)
            wide = byte & 8; /* the translator takes a REX anywhere among the prefixes */
        else if (byte != 0xf0 && byte != 0x2e && byte != 0x36 && byte != 0x3e && byte != 0x26 && byte != 0x64 && byte != 0x65)
            break;
    }
    in.opcode = code[at++];
    if (in.opcode == 0xc4 || in.opcode == 0xc5 || in.opcode == 0x62) {
        NEED(1);
        if (long_mode || (code[at] & 0xc0) == 0xc0) {
            bool evex = in.opcode == 0x62, wide_vector;
            size_t more = in.opcode == 0xc5 ? 1 : in.opcode == 0xc4 ? 2 : 3;
            NEED(more + 1);
            wide_vector = code[at + more - 1] & 4;
            in.map = in.opcode == 0xc5 ? 1 : code[at] & (in.opcode == 0x62 ? 3 : 31);
            in.kind = X86_VEX;
            at += more;
            in.opcode = code[at++];
            shape = in.map == 3 || (in.map == 1 && (in.opcode == 0x70 || in.opcode == 0x71 || in.opcode == 0x72 || in.opcode == 0x73 ||
                                                    in.opcode == 0xc2 || in.opcode == 0xc4 || in.opcode == 0xc5 || in.opcode == 0xc6))
                        ? "mb"
                        : in.map == 1 && in.opcode == 0x77 ? "" : "m";
            in.avx = !evex && !wide_vector && !(in.map == 2 && in.opcode >= 0xf2 && in.opcode <= 0xf7) &&
                     !(in.map == 3 && in.opcode == 0xf0);
        } else
            shape = x86_one_byte[in.opcode];
    } else if (in.opcode == 0x0f) {
        NEED(1);
        in.map = 1;
        in.opcode = code[at++];
        if (in.opcode == 0x38 || in.opcode == 0x3a) {
            in.map = in.opcode == 0x38 ? 2 : 3;
            shape = in.opcode == 0x38 ? "m" : "mb";
            NEED(1);
            in.opcode = code[at++];
        } else if ((in.opcode & 0xf0) == 0x80)
            shape = "zj";
        else if ((in.opcode & 0xf8) == 0xc8 || in.opcode == 0x77 || in.opcode == 0x06 || in.opcode == 0x08 || in.opcode == 0x09 ||
                 in.opcode == 0x0e || in.opcode == 0xa2 || (in.opcode & 0xf8) == 0x30 || (in.opcode & 0xf6) == 0xa0 || in.opcode == 0xaa)
            shape = in.opcode == 0x34 || in.opcode == 0x35 ? "j" : "";
        else if (in.opcode == 0x05 || in.opcode == 0x07 || in.opcode == 0x0b)
            shape = "j";
        else if ((in.opcode & 0xfc) == 0x70 || in.opcode == 0xa4 || in.opcode == 0xac || in.opcode == 0xba || in.opcode == 0xc2 ||
                 (in.opcode >= 0xc4 && in.opcode <= 0xc6) || in.opcode == 0x0f)
            shape = "mb";
        if (in.opcode == 0x78 && in.map == 1 && (operand16 || repne)) /* extrq, insertq: no address after ModRM, to Unicorn */
            shape = "bw";
        if (in.map == 1 && (in.opcode == 0xa3 || in.opcode == 0xa5 || in.opcode == 0xab || in.opcode == 0xad))
            shape = "m";
    } else {
        shape = x86_one_byte[in.opcode];
        if (long_mode && (in.opcode == 0x62 || in.opcode == 0x9a || in.opcode == 0xea))
            shape = "";
    }
    for (; *shape; shape++) {
        unsigned immediate = 0;
        switch (*shape) {
        case 'm': {
            NEED(1);
            in.modrm = code[at++];
            unsigned mod = in.modrm >> 6, rm = in.modrm & 7, displacement = mod == 1 ? 1 : 0;
            if (mod == 3 || (in.map == 1 && in.kind != X86_VEX && (in.opcode & 0xfc) == 0x20)) /* mov cr, dr */
                break;
            if (address_small && !long_mode) {
                displacement = mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
            } else {
                if (rm == 4) {
                    NEED(1);
                    rm = code[at++] & 7;
                }
                if (mod == 2 || (mod == 0 && rm == 5))
                    displacement = 4;
            }
            NEED(displacement);
            at += displacement;
            break;
        }
        case 'b': immediate = 1; break;
        case 'w': immediate = 2; break;
        case 'e': immediate = 3; break;
        case 'z': immediate = operand16 && !wide ? 2 : 4; break;
        case 'v': immediate = wide ? 8 : operand16 ? 2 : 4; break;
        case 'a': immediate = long_mode ? address_small ? 4 : 8 : address_small ? 2 : 4; break;
        case 'p': immediate = operand16 ? 4 : 6; break;
        case 'j': in.kind = X86_ENDS_BLOCK; break;
        }
        NEED(immediate);
        at += immediate;
    }
    if (in.map == 0 && in.kind != X86_VEX) {
        unsigned reg = in.modrm >> 3 & 7;
        if ((in.opcode == 0xf6 || in.opcode == 0xf7) && reg < 2) {
            unsigned immediate = in.opcode == 0xf6 ? 1 : operand16 && !wide ? 2 : 4;
            NEED(immediate);
            at += immediate;
        } else if (in.opcode == 0xff && reg >= 2 && reg <= 5)
            in.kind = X86_ENDS_BLOCK;
    }
    in.length = (uint8_t)at;
    return in;
}

/* How many of the translator's 512 temporaries an instruction uses up for the rest of its block; measured by a sweep of
   all opcodes in register and memory forms, rounded up. About 48 are taken from the start. */
static unsigned x86_temporaries(const struct x86_instruction *in)
{
    bool registers = in->modrm >= 0xc0;
    switch (in->map) {
    case 0:
        if ((in->opcode & 0xf8) == 0xd8 && in->kind != X86_VEX)
            return registers ? 2 : 1;
        return in->opcode == 0x8e || in->opcode == 0xce || in->opcode == 0xd4 || in->opcode == 0xd5;
    case 1: return in->opcode == 0x78 ? 2 : in->opcode == 0x20 || in->opcode == 0x70 || in->opcode == 0xc6;
    case 2: return in->opcode == 0xf0 || in->opcode == 0xf1;
    default: return 1;
    }
}

enum { X86_PAGE = 4096, X86_MOST_TEMPORARIES = 420 };

/* True when some straight line of code in the page, begun anywhere, would overrun the translator's table. A block may go
   on into the next page, which is looked at alone: a line that crosses an end of the page may use up half of it. */
static bool x86_overruns(const uint8_t *page, bool long_mode)
{
    static const uint8_t suspect[256] = {[0x8e] = 1, [0xce] = 1, [0xd4] = 1, [0xd5] = 1, [0xd8] = 2, [0xd9] = 2, [0xda] = 2,
                                         [0xdb] = 2, [0xdc] = 2, [0xdd] = 2, [0xde] = 2, [0xdf] = 2, [0xc4] = 1, [0xc5] = 1};
    unsigned bound = 0;
    uint16_t cost[X86_PAGE + 16];
    bool leaves[X86_PAGE + 16]; /* the line goes on in the next page */
    for (unsigned i = 0; i < X86_PAGE; i++)
        bound += suspect[page[i]];
    for (unsigned i = 0; i + 1 < X86_PAGE; i++)
        if (page[i] == 0x0f)
            bound += page[i + 1] == 0x78 ? 2 : page[i + 1] == 0x20 || page[i + 1] == 0x70 || page[i + 1] == 0xc6 || page[i + 1] == 0x38 || page[i + 1] == 0x3a;
    if (bound < X86_MOST_TEMPORARIES / 2)
        return false; /* nearly every page */
    for (unsigned i = X86_PAGE; i < X86_PAGE + 16; i++) {
        cost[i] = 0;
        leaves[i] = true;
    }
    for (unsigned i = X86_PAGE; i-- > 0;) {
        struct x86_instruction in = x86_decode(page + i, X86_PAGE - i, long_mode);
        unsigned own = in.length ? x86_temporaries(&in) : 2;
        bool ends = in.length && in.kind == X86_ENDS_BLOCK;
        unsigned sum = own + (!in.length || ends ? 0 : cost[i + in.length]);
        leaves[i] = !ends && (!in.length || leaves[i + in.length]);
        if (sum > (leaves[i] || i < 15 ? X86_MOST_TEMPORARIES / 2 : X86_MOST_TEMPORARIES))
            return true;
        cost[i] = (uint16_t)sum;
    }
    return false;
}

static bool x86_prefix(uint8_t byte, bool long_mode)
{
    return byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 || byte == 0x2e || byte == 0x36 ||
           byte == 0x3e || byte == 0x26 || byte == 0x64 || byte == 0x65 || (long_mode && (byte & 0xf0) == 0x40);
}

/* A locked bit test of a register (lock bt, bts, btr, btc), from its lock prefix on: an illegal instruction on a CPU, a
   use of an undefined temporary and so an abort() in the translator. The bytes occur in real programs, as the end of one
   instruction and the next, so that a page with them cannot be refused. Found by random code. */
static bool x86_locked_bit(const uint8_t *code, size_t available, bool long_mode)
{
    size_t at = 1;
    if (!available || code[0] != 0xf0)
        return false;
    while (at < available && at < 13 && x86_prefix(code[at], long_mode))
        at++;
    if (at + 3 > available || code[at] != 0x0f || code[at + 2] < 0xc0)
        return false;
    uint8_t opcode = code[at + 1];
    return opcode == 0xa3 || opcode == 0xab || opcode == 0xb3 || opcode == 0xbb || opcode == 0xba;
}

#endif
