# arch: x86_64
# purpose: Checks the CPU: integers, flags, shifts, multiplication, division, addressing, calls, strings, atomics, SSE2
#     and x87, in the baseline of x86-64. The first assertion that fails ends it.
# args: none
# stdin: not read
# stdout: one line when all is well
# status: 0; the number of the assertion that failed, which is also printed on stderr
# test: stdout="x86_64: all assertions hold\n"

        .equ    CF, 0x001
        .equ    PF, 0x004
        .equ    AF, 0x010
        .equ    ZF, 0x040
        .equ    SF, 0x080
        .equ    OF, 0x800
        .equ    ALL, CF+PF+AF+ZF+SF+OF

.macro expect register, value           // the register holds the value
        inc     r15d                    // the assertion's number
        mov     r14, \value
        cmp     \register, r14
        jne     failed
.endm

.macro expect_flags mask, value         // of the flags in the mask, exactly these are set
        pushfq
        pop     r14
        inc     r15d
        and     r14d, \mask
        cmp     r14d, \value
        jne     failed
.endm

_start:
        mov     rbp, rsp
        xor     r15d, r15d

        // -- moves and widths
        mov     rax, -1
        mov     eax, 5
        expect  rax, 5                  // a 32-bit write clears the upper half
        mov     rax, -1
        mov     ax, 5
        expect  rax, 0xffffffffffff0005
        mov     rax, -1
        mov     al, 5
        expect  rax, 0xffffffffffffff05
        mov     rax, -1
        mov     ah, 5
        expect  rax, 0xffffffffffff05ff
        mov     ecx, 0x80ff
        movzx   rax, cl
        expect  rax, 0xff
        movsx   rax, cl
        expect  rax, -1
        movzx   eax, cx
        expect  rax, 0x80ff
        movsx   eax, cx
        expect  rax, 0xffff80ff
        mov     ecx, 0x80000000
        movsxd  rax, ecx
        expect  rax, 0xffffffff80000000
        mov     eax, 0x12345678
        bswap   eax
        expect  rax, 0x78563412
        mov     rax, 0x0102030405060708
        bswap   rax
        expect  rax, 0x0807060504030201
        mov     eax, 1
        mov     ecx, 2
        xchg    rax, rcx
        expect  rax, 2
        expect  rcx, 1
        mov     eax, 0x80000000
        cdqe
        expect  rax, 0xffffffff80000000
        mov     rax, -5
        cqo
        expect  rdx, -1
        mov     eax, 5
        cdq
        expect  rdx, 0

        // -- addition and subtraction with their flags
        mov     eax, 0x7fffffff
        add     eax, 1
        expect_flags ALL, SF+OF+AF+PF
        expect  rax, 0x80000000
        mov     eax, 0xffffffff
        add     eax, 1
        expect_flags ALL, CF+ZF+AF+PF
        mov     al, 0x80
        add     al, 0x80
        expect_flags ALL, CF+ZF+OF+PF
        mov     eax, 0
        sub     eax, 1
        expect_flags ALL, CF+SF+AF+PF
        mov     eax, 0x80000000
        sub     eax, 1
        expect_flags ALL, OF+AF+PF
        mov     rax, 5
        cmp     rax, 5
        expect_flags ALL, ZF+PF
        mov     rax, 5
        cmp     rax, 6
        expect_flags ALL, CF+SF+AF+PF
        mov     rax, -1
        stc
        adc     rax, 0
        expect_flags ALL, CF+ZF+AF+PF
        expect  rax, 0
        stc
        mov     rax, 10
        sbb     rax, 3
        expect  rax, 6
        stc
        mov     eax, 0x7fffffff
        inc     eax                     // leaves the carry alone
        expect_flags ALL, CF+SF+OF+AF+PF
        clc
        mov     eax, 0
        dec     eax
        expect_flags ALL, SF+AF+PF
        mov     eax, 0
        neg     eax
        expect_flags ALL, ZF+PF
        mov     rax, 1
        neg     rax
        expect_flags CF+ZF+SF+OF, CF+SF
        expect  rax, -1
        clc
        cmc
        expect_flags CF, CF

        // -- logic
        mov     eax, 0xf0f0
        and     eax, 0xff00
        expect_flags CF+ZF+SF+OF+PF, PF
        expect  rax, 0xf000
        mov     rax, 0x8000000000000000
        or      rax, 1
        expect_flags CF+ZF+SF+OF+PF, SF
        expect  rax, 0x8000000000000001
        xor     rax, rax
        expect_flags CF+ZF+SF+OF+PF, ZF+PF
        mov     rax, 0x0f
        not     rax
        expect  rax, -16
        mov     eax, 6
        test    eax, 1
        expect_flags CF+ZF+SF+OF+PF, ZF+PF
        mov     al, 7                   // three bits: odd parity
        test    al, al
        expect_flags PF, 0

        // -- shifts and rotations
        mov     eax, 0xc0000001
        shl     eax, 1
        expect_flags CF+OF+ZF+SF, CF+SF
        expect  rax, 0x80000002
        mov     eax, 3
        shr     eax, 1
        expect_flags CF+ZF+SF, CF
        expect  rax, 1
        mov     rax, -8
        sar     rax, 2
        expect  rax, -2
        mov     eax, 1
        mov     cl, 33
        shl     eax, cl                 // the count is taken modulo 32
        expect  rax, 2
        mov     eax, 1
        mov     cl, 33
        shl     rax, cl
        expect  rax, 0x200000000
        stc
        mov     cl, 0
        shl     eax, cl                 // a count of 0 changes no flag
        expect_flags CF, CF
        mov     eax, 0x80000001
        rol     eax, 4
        expect  rax, 0x00000018
        mov     eax, 0x80000001
        ror     eax, 4
        expect  rax, 0x18000000
        mov     al, 0x81
        stc
        rcl     al, 1
        expect_flags CF, CF
        movzx   eax, al
        expect  rax, 3
        clc
        mov     eax, 1
        rcr     eax, 1
        expect_flags CF, CF
        expect  rax, 0
        mov     eax, 0x12345678
        mov     ecx, 0x9abcdef0
        shld    eax, ecx, 8
        expect  rax, 0x3456789a
        mov     eax, 0x12345678
        shrd    eax, ecx, 8
        expect  rax, 0xf0123456
        mov     eax, 0x00010100
        bsf     ecx, eax
        expect  rcx, 8
        bsr     ecx, eax
        expect  rcx, 16
        bt      eax, 16
        expect_flags CF, CF
        bts     eax, 0
        expect  rax, 0x00010101
        btr     eax, 16
        expect  rax, 0x00000101
        btc     eax, 1
        expect  rax, 0x00000103

        // -- multiplication and division
        mov     rax, 0xffffffffffffffff
        mov     rcx, 0xffffffffffffffff
        mul     rcx
        expect_flags CF+OF, CF+OF
        expect  rax, 1
        expect  rdx, 0xfffffffffffffffe
        mov     rax, -3
        mov     rcx, 7
        imul    rcx
        expect  rax, -21
        expect  rdx, -1
        mov     eax, 0x10000
        mov     ecx, 0x10000
        imul    eax, ecx
        expect_flags CF+OF, CF+OF
        expect  rax, 0
        imul    rax, rcx, -2
        expect  rax, -0x20000
        mov     al, 200
        mov     cl, 3
        mul     cl
        movzx   eax, ax
        expect  rax, 600
        mov     edx, 1
        mov     eax, 0
        mov     ecx, 3
        div     ecx
        expect  rax, 0x55555555
        expect  rdx, 1
        mov     rax, -7
        cqo
        mov     rcx, 2
        idiv    rcx                     // rounds towards zero
        expect  rax, -3
        expect  rdx, -1
        mov     ax, 1000
        mov     cl, 7
        div     cl
        movzx   eax, ax
        expect  rax, 0x068e             // remainder 6 in ah, quotient 142 in al

        // -- conditions
        mov     eax, 1
        cmp     eax, 2
        setl    cl
        setg    dl
        movzx   ecx, cl
        movzx   edx, dl
        expect  rcx, 1
        expect  rdx, 0
        mov     eax, -1
        cmp     eax, 1
        setb    cl                      // unsigned: not below
        setl    dl                      // signed: less
        movzx   ecx, cl
        movzx   edx, dl
        expect  rcx, 0
        expect  rdx, 1
        mov     eax, 7
        mov     ecx, 9
        cmp     eax, 7
        cmove   eax, ecx
        expect  rax, 9
        mov     rax, -1
        cmp     ecx, 10
        cmove   eax, ecx                // not taken, and the upper half is cleared all the same
        expect  rax, 0xffffffff
        mov     ecx, 5
        xor     eax, eax
loop_again:
        add     eax, ecx
        loop    loop_again
        expect  rax, 15
        xor     ecx, ecx
        jrcxz   rcx_was_zero
        jmp     failed
rcx_was_zero:
        expect  rcx, 0

        // -- memory and addressing
        lea     rbx, [rip + table]
        mov     ecx, 3
        mov     rax, [rbx + 8*rcx]
        expect  rax, 0x4444444444444444
        mov     rax, [rbx + 8*rcx - 16]
        expect  rax, 0x2222222222222222
        mov     eax, [rbx + 1]          // unaligned
        expect  rax, 0x11111111
        mov     rax, [rip + table + 5]
        expect  rax, 0x2222222222111111
        lea     rax, [rbx + 4*rcx + 100]
        sub     rax, rbx
        expect  rax, 112
        mov     ecx, 0xffffffff
        lea     rax, [ecx + 2]          // a 32-bit address wraps
        expect  rax, 1
        lea     rbx, [rip + page]
        lea     rbx, [rbx + 4092]
        mov     rax, 0x1122334455667788
        mov     [rbx], rax              // straddles two pages
        mov     rcx, [rbx]
        expect  rcx, 0x1122334455667788
        movzx   ecx, byte ptr [rbx + 4]
        expect  rcx, 0x44
        add     word ptr [rbx + 3], 0x1111
        mov     rcx, [rbx]
        expect  rcx, 0x1122335566667788

        // -- the stack and calls
        push    0x1234
        mov     rax, [rsp]
        expect  rax, 0x1234
        pop     rcx
        expect  rcx, 0x1234
        push    -1
        pop     rcx
        expect  rcx, -1
        push    rsp                     // pushes the value from before
        pop     rcx
        expect  rcx, rsp
        mov     rax, rsp
        call    nested
        expect  rax, 77
        lea     rcx, [rip + nested]
        call    rcx
        expect  rax, 77
        expect  rsp, rbp
        push    5
        push    6
        call    take_two                // ret 16 drops both
        expect  rax, 11
        expect  rsp, rbp
        push    rbp
        mov     rbp, rsp
        sub     rsp, 64
        leave
        expect  rsp, rbp

        // -- strings
        lea     rsi, [rip + text]
        lea     rdi, [rip + page]
        mov     ecx, 11
        rep     movsb
        expect  rcx, 0
        lea     rax, [rip + page]
        sub     rdi, rax
        expect  rdi, 11
        mov     rax, [rip + page]
        expect  rax, 0x6f77206f6c6c6568 // "hello wo"
        lea     rdi, [rip + page]
        mov     al, 0x6f                // 'o'
        mov     ecx, 11
        repne   scasb
        expect  rcx, 6
        lea     rsi, [rip + text]
        lea     rdi, [rip + page]
        mov     byte ptr [rdi + 7], 0x58
        mov     ecx, 11
        repe    cmpsb
        expect_flags ZF, 0
        expect  rcx, 3
        lea     rdi, [rip + page]
        mov     rax, 0x4141414141414141
        mov     ecx, 600
        rep     stosq                   // over a page boundary
        mov     rax, [rip + page + 4796]
        expect  rax, 0x0000000041414141
        lea     rsi, [rip + table + 31]
        std
        lodsb                           // downwards
        cld
        movzx   eax, al
        expect  rax, 0x44
        lea     rcx, [rip + table + 30]
        expect  rsi, rcx
        lea     rbx, [rip + text]
        mov     eax, 4
        xlatb
        expect  rax, 0x6f
        lea     rdi, [rip + page]
        lea     rsi, [rdi + 1]
        mov     byte ptr [rdi], 7
        xchg    rsi, rdi
        mov     ecx, 20
        rep     movsb                   // overlapping by one: fills
        movzx   eax, byte ptr [rip + page + 20]
        expect  rax, 7

        // -- atomics
        lea     rbx, [rip + word]
        mov     qword ptr [rbx], 40
        mov     eax, 2
        lock    xadd [rbx], rax
        expect  rax, 40
        mov     rax, [rbx]
        expect  rax, 42
        mov     eax, 42
        mov     ecx, 50
        lock    cmpxchg [rbx], rcx
        expect_flags ZF, ZF
        mov     rcx, [rbx]
        expect  rcx, 50
        mov     eax, 42
        mov     ecx, 60
        lock    cmpxchg [rbx], rcx
        expect_flags ZF, 0
        expect  rax, 50
        lock    inc dword ptr [rbx]
        lock    or  byte ptr [rbx], 0x80
        mov     rax, [rbx]
        expect  rax, 0xb3
        mov     eax, 9
        xchg    [rbx], rax
        expect  rax, 0xb3
        lea     rdi, [rip + pair]
        mov     eax, 1
        mov     edx, 2
        mov     ebx, 3
        mov     ecx, 4
        lock    cmpxchg16b [rdi]
        expect_flags ZF, ZF
        mov     rax, [rdi]
        expect  rax, 3
        mov     rax, [rdi + 8]
        expect  rax, 4
        lock    bts dword ptr [rdi], 5
        mov     rax, [rdi]
        expect  rax, 35

        // -- SSE and SSE2
        movsd   xmm0, [rip + three]
        movsd   xmm1, [rip + half]
        addsd   xmm0, xmm1
        movq    rax, xmm0
        expect  rax, 0x400c000000000000 // 3.5
        mulsd   xmm0, xmm0
        movq    rax, xmm0
        expect  rax, 0x4028800000000000 // 12.25
        sqrtsd  xmm2, xmm0
        movq    rax, xmm2
        expect  rax, 0x400c000000000000
        divsd   xmm1, [rip + three]
        movq    rax, xmm1
        expect  rax, 0x3fc5555555555555 // 1/6
        mov     rax, -7
        cvtsi2sd xmm0, rax
        movq    rax, xmm0
        expect  rax, 0xc01c000000000000
        movsd   xmm0, [rip + minus]
        cvttsd2si rax, xmm0             // towards zero
        expect  rax, -2
        cvtsd2si rax, xmm0              // to the nearest, even
        expect  rax, -2
        cvtsd2ss xmm1, xmm0
        movd    eax, xmm1
        expect  rax, 0xc0200000
        ucomisd xmm0, [rip + three]
        expect_flags CF+ZF+PF, CF       // less
        xorps   xmm3, xmm3
        divsd   xmm3, xmm3
        ucomisd xmm3, xmm3
        expect_flags CF+ZF+PF, CF+ZF+PF // not a number: unordered
        movups  xmm0, [rip + table]
        movups  xmm1, [rip + table + 16]
        paddd   xmm0, xmm1
        movq    rax, xmm0
        expect  rax, 0x4444444444444444
        pxor    xmm0, xmm0
        pcmpeqb xmm0, [rip + zeros]
        pmovmskb eax, xmm0
        expect  rax, 0xffff
        mov     eax, 0x01020304
        movd    xmm0, eax
        pshufd  xmm0, xmm0, 0
        movq    rax, xmm0
        expect  rax, 0x0102030401020304
        psllq   xmm0, 4
        movq    rax, xmm0
        expect  rax, 0x1020304010203040
        movups  xmm0, [rip + floats]
        movaps  xmm1, xmm0
        addps   xmm0, xmm1
        cvtps2dq xmm0, xmm0
        movq    rax, xmm0
        expect  rax, 0x0000000400000002
        pshufd  xmm0, xmm0, 0xee
        movq    rax, xmm0
        expect  rax, 0x0000000800000006
        movmskps eax, xmm1
        expect  rax, 0
        punpcklbw xmm1, xmm1
        mov     eax, 0xff80
        movd    xmm0, eax
        packuswb xmm0, xmm0             // a negative word saturates to 0
        movd    eax, xmm0
        expect  rax, 0x00000000
        stmxcsr [rip + word]
        mov     eax, [rip + word]
        and     eax, 0x1f80
        expect  rax, 0x1f80             // all exceptions masked

        // -- x87
        fninit
        fld1
        fldpi
        faddp
        fstp    qword ptr [rip + word]
        mov     rax, [rip + word]
        expect  rax, 0x401090fdaa22168c // pi + 1
        fild    dword ptr [rip + twelve]
        fsqrt
        fmul    st(0), st(0)
        fistp   dword ptr [rip + word]
        mov     eax, [rip + word]
        expect  rax, 12
        fld     qword ptr [rip + three]
        fld     qword ptr [rip + half]
        fcomip  st(0), st(1)
        expect_flags CF+ZF+PF, CF       // a half is less than three
        fchs
        fabs
        fstp    dword ptr [rip + word]
        mov     eax, [rip + word]
        expect  rax, 0x40400000
        fld     qword ptr [rip + three]
        fld     st(0)
        fxch
        fsubp
        fldz
        fcomip  st(0), st(1)
        expect_flags CF+ZF+PF, ZF
        fstp    st(0)
        fnstsw  ax
        and     eax, 0x3800
        expect  rax, 0                  // the stack is empty again

        mov     eax, 1
        mov     edi, 1
        lea     rsi, [rip + good]
        mov     edx, good_end - good
        syscall
        mov     eax, 231
        xor     edi, edi
        syscall

failed:                                 // r15d: the assertion's number
        mov     eax, r15d
        lea     rsi, [rip + bad_end]
        mov     ecx, 10
bad_digit:
        xor     edx, edx
        div     ecx
        add     dl, 48
        dec     rsi
        mov     [rsi], dl
        test    eax, eax
        jnz     bad_digit
        lea     rsi, [rip + bad]
        mov     eax, 1
        mov     edi, 2
        mov     edx, bad_end - bad + 1
        syscall
        mov     eax, 231
        mov     edi, r15d
        syscall

nested:
        mov     eax, 70
        call    deeper
        ret
deeper:
        add     eax, 7
        ret
take_two:
        mov     rax, [rsp + 8]
        add     rax, [rsp + 16]
        ret     16

text:
        .ascii  "hello world"
good:
        .ascii  "x86_64: all assertions hold\n"
good_end:
        .p2align 3
three:
        .double 3.0
half:
        .double 0.5
minus:
        .double -2.5
twelve:
        .long   12
        .p2align 4
zeros:
        .quad   0, 0
floats:
        .float  1.0, 2.0, 3.0, 4.0

# data
table:
        .quad   0x1111111111111111, 0x2222222222222222, 0x3333333333333333, 0x4444444444444444
pair:
        .quad   1, 2
word:
        .quad   0
bad:
        .ascii  "failed: assertion    "
bad_end:
        .ascii  "\n"
        .p2align 12
page:
        .space  8192
