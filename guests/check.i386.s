# arch: i386
# purpose: Checks the CPU: integers, flags, shifts, multiplication, division, decimal adjustment, addressing, calls,
#     strings, atomics, x87 and SSE2. The first assertion that fails ends it.
# args: none
# stdin: not read
# stdout: one line when all is well
# status: 0; the number of the assertion that failed, which is also printed on stderr
# test: stdout="i386: all assertions hold\n"

        .equ    CF, 0x001
        .equ    PF, 0x004
        .equ    AF, 0x010
        .equ    ZF, 0x040
        .equ    SF, 0x080
        .equ    OF, 0x800
        .equ    ALL, CF+PF+AF+ZF+SF+OF

.macro expect register, value           // the register holds the value
        inc     dword ptr [number]
        cmp     \register, \value
        jne     failed
.endm

.macro expect_flags mask, value         // of the flags in the mask, exactly these are set
        pushfd
        inc     dword ptr [number]
        and     dword ptr [esp], \mask
        cmp     dword ptr [esp], \value
        jne     failed
        popfd
.endm

_start:
        mov     ebp, esp

        // -- moves and widths
        mov     eax, -1
        mov     ax, 5
        expect  eax, 0xffff0005
        mov     eax, -1
        mov     ah, 5
        expect  eax, 0xffff05ff
        mov     ecx, 0x80ff
        movzx   eax, cl
        expect  eax, 0xff
        movsx   eax, cl
        expect  eax, -1
        movsx   eax, cx
        expect  eax, 0xffff80ff
        mov     eax, 0x12345678
        bswap   eax
        expect  eax, 0x78563412
        mov     eax, 1
        mov     ecx, 2
        xchg    eax, ecx
        expect  eax, 2
        expect  ecx, 1
        mov     ax, 0x8000
        cwde
        expect  eax, 0xffff8000
        cdq
        expect  edx, -1
        mov     eax, cs
        and     eax, 3
        expect  eax, 3                  // the user's privilege

        // -- addition and subtraction with their flags
        mov     eax, 0x7fffffff
        add     eax, 1
        expect_flags ALL, SF+OF+AF+PF
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
        mov     eax, 5
        cmp     eax, 5
        expect_flags ALL, ZF+PF
        mov     eax, 0xffffffff
        mov     edx, 1
        add     eax, 2
        adc     edx, 3                  // 64-bit arithmetic in pairs
        expect  edx, 5
        mov     eax, 1
        mov     edx, 5
        sub     eax, 2
        sbb     edx, 0
        expect  edx, 4
        stc
        mov     eax, 0x7fffffff
        inc     eax                     // leaves the carry alone
        expect_flags ALL, CF+SF+OF+AF+PF
        clc
        mov     eax, 0
        dec     eax
        expect_flags ALL, SF+AF+PF
        mov     eax, 1
        neg     eax
        expect_flags CF+ZF+SF+OF, CF+SF
        expect  eax, -1

        // -- logic, shifts, rotations, bits
        mov     eax, 0xf0f0
        and     eax, 0xff00
        expect_flags CF+ZF+SF+OF+PF, PF
        expect  eax, 0xf000
        not     eax
        expect  eax, 0xffff0fff
        mov     al, 7                   // three bits: odd parity
        test    al, al
        expect_flags PF, 0
        mov     eax, 0xc0000001
        shl     eax, 1
        expect_flags CF+OF+ZF+SF, CF+SF
        expect  eax, 0x80000002
        mov     eax, -8
        sar     eax, 2
        expect  eax, -2
        mov     eax, 1
        mov     cl, 33
        shl     eax, cl                 // the count is taken modulo 32
        expect  eax, 2
        mov     eax, 0x80000001
        rol     eax, 4
        expect  eax, 0x00000018
        mov     eax, 0x80000001
        ror     eax, 4
        expect  eax, 0x18000000
        mov     al, 0x81
        stc
        rcl     al, 1
        expect_flags CF, CF
        movzx   eax, al
        expect  eax, 3
        mov     eax, 0x12345678
        mov     ecx, 0x9abcdef0
        shld    eax, ecx, 8
        expect  eax, 0x3456789a
        mov     eax, 0x12345678
        shrd    eax, ecx, 8
        expect  eax, 0xf0123456
        mov     eax, 0x00010100
        bsf     ecx, eax
        expect  ecx, 8
        bsr     ecx, eax
        expect  ecx, 16
        bts     eax, 0
        expect  eax, 0x00010101
        btr     eax, 16
        expect_flags CF, CF
        btc     eax, 1
        expect  eax, 0x00000103

        // -- multiplication, division, decimal adjustment
        mov     eax, 0xffffffff
        mov     ecx, 0xffffffff
        mul     ecx
        expect_flags CF+OF, CF+OF
        expect  eax, 1
        expect  edx, 0xfffffffe
        mov     eax, -3
        mov     ecx, 7
        imul    ecx
        expect  eax, -21
        expect  edx, -1
        imul    eax, ecx, -2
        expect  eax, -14
        mov     edx, 1
        mov     eax, 0
        mov     ecx, 3
        div     ecx
        expect  eax, 0x55555555
        expect  edx, 1
        mov     eax, -7
        cdq
        mov     ecx, 2
        idiv    ecx                     // rounds towards zero
        expect  eax, -3
        expect  edx, -1
        mov     eax, 1000
        mov     cl, 7
        div     cl
        expect  eax, 0x068e             // remainder 6 in ah, quotient 142 in al
        mov     eax, 0x38
        add     al, 0x45
        daa
        expect  eax, 0x83
        mov     eax, 0x83
        sub     al, 0x38
        das
        expect  eax, 0x45
        mov     eax, 0x0008
        add     al, 9
        aaa
        expect  eax, 0x0107
        mov     eax, 63
        aam
        expect  eax, 0x0603
        aad
        expect  eax, 63
        stc
        salc
        and     eax, 0xff
        expect  eax, 0xff

        // -- conditions
        mov     eax, -1
        cmp     eax, 1
        setb    cl                      // unsigned: not below
        setl    dl                      // signed: less
        movzx   ecx, cl
        movzx   edx, dl
        expect  ecx, 0
        expect  edx, 1
        mov     eax, 7
        mov     ecx, 9
        cmp     eax, 7
        cmove   eax, ecx
        expect  eax, 9
        mov     ecx, 5
        xor     eax, eax
loop_again:
        add     eax, ecx
        loop    loop_again
        expect  eax, 15
        jecxz   ecx_was_zero
        jmp     failed
ecx_was_zero:

        // -- memory and addressing
        lea     ebx, [table]
        mov     ecx, 3
        mov     eax, [ebx + 4*ecx]
        expect  eax, 0x44444444
        mov     eax, [ebx + 4*ecx - 8]
        expect  eax, 0x22222222
        mov     eax, [ebx + 3]          // unaligned
        expect  eax, 0x22222211
        lea     eax, [ecx + 4*ecx + 100]
        expect  eax, 115
        mov     eax, [table + 4*ecx]
        expect  eax, 0x44444444
        lea     ebx, [page + 4094]
        mov     dword ptr [ebx], 0x11223344
        mov     ecx, [ebx]              // straddles two pages
        expect  ecx, 0x11223344
        add     word ptr [ebx + 1], 0x1111
        mov     ecx, [ebx]
        expect  ecx, 0x11334444

        // -- the stack and calls
        push    0x1234
        mov     eax, [esp]
        expect  eax, 0x1234
        pop     ecx
        push    esp                     // pushes the value from before
        pop     ecx
        expect  ecx, esp
        mov     eax, 1
        mov     ecx, 2
        mov     edx, 3
        mov     ebx, 4
        pushad
        xor     eax, eax
        xor     ebx, ebx
        popad
        expect  eax, 1
        expect  ebx, 4
        call    nested
        expect  eax, 77
        lea     ecx, [nested]
        call    ecx
        expect  eax, 77
        push    5
        push    6
        call    take_two                // ret 8 drops both
        expect  eax, 11
        expect  esp, ebp
        enter   64, 0
        leave
        expect  esp, ebp

        // -- strings
        lea     esi, [text]
        lea     edi, [page]
        mov     ecx, 11
        rep     movsb
        expect  ecx, 0
        mov     eax, [page + 6]
        expect  eax, 0x6c726f77         // "worl"
        lea     edi, [page]
        mov     al, 0x6f                // 'o'
        mov     ecx, 11
        repne   scasb
        expect  ecx, 6
        lea     esi, [text]
        lea     edi, [page]
        mov     byte ptr [edi + 7], 0x58
        mov     ecx, 11
        repe    cmpsb
        expect_flags ZF, 0
        expect  ecx, 3
        lea     edi, [page]
        mov     eax, 0x41414141
        mov     ecx, 1200
        rep     stosd                   // over a page boundary
        mov     eax, [page + 4798]
        expect  eax, 0x00004141
        lea     esi, [table + 15]
        std
        lodsb                           // downwards
        cld
        movzx   eax, al
        expect  eax, 0x44
        lea     ebx, [text]
        mov     eax, 4
        xlatb
        expect  eax, 0x6f

        // -- atomics
        lea     ebx, [word]
        mov     dword ptr [ebx], 40
        mov     eax, 2
        lock    xadd [ebx], eax
        expect  eax, 40
        mov     eax, 42
        mov     ecx, 50
        lock    cmpxchg [ebx], ecx
        expect_flags ZF, ZF
        mov     eax, 42
        lock    cmpxchg [ebx], ecx
        expect_flags ZF, 0
        expect  eax, 50
        lock    inc dword ptr [ebx]
        mov     eax, 9
        xchg    [ebx], eax
        expect  eax, 51
        lea     edi, [pair]
        mov     eax, 1
        mov     edx, 2
        mov     ebx, 3
        mov     ecx, 4
        lock    cmpxchg8b [edi]
        expect_flags ZF, ZF
        mov     eax, [edi + 4]
        expect  eax, 4
        lock    bts dword ptr [edi], 5
        mov     eax, [edi]
        expect  eax, 35

        // -- x87
        fninit
        fld1
        fldpi
        faddp
        fstp    qword ptr [word]
        mov     eax, [word]
        expect  eax, 0xaa22168c         // pi + 1
        mov     eax, [word + 4]
        expect  eax, 0x401090fd
        fild    dword ptr [twelve]
        fsqrt
        fmul    st(0), st(0)
        fistp   dword ptr [word]
        mov     eax, [word]
        expect  eax, 12
        fld     qword ptr [three]
        fld     qword ptr [half]
        fcomip  st(0), st(1)
        expect_flags CF+ZF+PF, CF       // a half is less than three
        fchs
        fabs
        fstp    dword ptr [word]
        mov     eax, [word]
        expect  eax, 0x40400000
        fld     qword ptr [three]
        fdiv    qword ptr [half]
        fistp   qword ptr [word]
        mov     eax, [word]
        expect  eax, 6
        fld     qword ptr [three]
        fld     qword ptr [half]
        fscale                          // a half times 2 to the 3
        fistp   dword ptr [word]
        mov     eax, [word]
        expect  eax, 4
        fstp    st(0)
        fldln2
        fld     qword ptr [three]
        fyl2x                           // ln 3
        fstp    dword ptr [word]
        mov     eax, [word]
        expect  eax, 0x3f8c9f54
        fld     qword ptr [half]
        fsin
        fstp    dword ptr [word]
        mov     eax, [word]
        expect  eax, 0x3ef57744
        fld     tbyte ptr [extended]
        fadd    dword ptr [one]
        fstp    tbyte ptr [word]        // 2 to the 63 plus 1: needs all 64 bits
        mov     eax, [word]
        expect  eax, 1
        fld     qword ptr [minus]
        frndint                         // to the nearest, even
        fistp   dword ptr [word]
        mov     eax, [word]
        expect  eax, -2
        fldz
        ftst
        fnstsw  ax
        and     eax, 0x4500
        expect  eax, 0x4000
        fstp    st(0)
        fnstsw  ax
        and     eax, 0x3800
        expect  eax, 0                  // the stack is empty again
        fnstcw  word ptr [word]
        movzx   eax, word ptr [word]
        expect  eax, 0x37f

        // -- SSE and SSE2
        movsd   xmm0, [three]
        movsd   xmm1, [half]
        addsd   xmm0, xmm1
        mulsd   xmm0, xmm0
        sqrtsd  xmm0, xmm0
        movsd   [word], xmm0
        mov     eax, [word + 4]
        expect  eax, 0x400c0000         // 3.5
        cvttsd2si eax, [minus]
        expect  eax, -2
        mov     eax, -7
        cvtsi2sd xmm0, eax
        movsd   [word], xmm0
        mov     eax, [word + 4]
        expect  eax, 0xc01c0000
        movups  xmm0, [table]
        movups  xmm1, [table]
        paddd   xmm0, xmm1
        movd    eax, xmm0
        expect  eax, 0x22222222
        pshufd  xmm0, xmm0, 3
        movd    eax, xmm0
        expect  eax, 0x88888888
        pxor    xmm0, xmm0
        pcmpeqb xmm0, xmm0
        pmovmskb eax, xmm0
        expect  eax, 0xffff
        movd    mm0, eax                // MMX shares the x87's registers
        paddw   mm0, mm0
        movd    eax, mm0
        emms
        expect  eax, 0xfffe
        fld1
        fistp   dword ptr [word]
        mov     eax, [word]
        expect  eax, 1

        mov     eax, 4
        mov     ebx, 1
        lea     ecx, [good]
        mov     edx, good_end - good
        int     0x80
        mov     eax, 252
        xor     ebx, ebx
        int     0x80

failed:
        mov     eax, [number]
        lea     ecx, [bad_end]
        mov     ebx, 10
bad_digit:
        xor     edx, edx
        div     ebx
        add     dl, 48
        dec     ecx
        mov     [ecx], dl
        test    eax, eax
        jnz     bad_digit
        mov     eax, 4
        mov     ebx, 2
        lea     ecx, [bad]
        mov     edx, 22
        int     0x80
        mov     eax, 252
        mov     ebx, [number]
        int     0x80

nested:
        mov     eax, 70
        call    deeper
        ret
deeper:
        add     eax, 7
        ret
take_two:
        mov     eax, [esp + 4]
        add     eax, [esp + 8]
        ret     8

text:
        .ascii  "hello world"
good:
        .ascii  "i386: all assertions hold\n"
good_end:
        .p2align 3
three:
        .double 3.0
half:
        .double 0.5
minus:
        .double -2.5
extended:
        .quad   0x8000000000000000
        .short  0x403e
        .p2align 2
one:
        .float  1.0
twelve:
        .long   12

# data
number:
        .long   0
        .p2align 4
table:
        .long   0x11111111, 0x22222222, 0x33333333, 0x44444444
pair:
        .long   1, 2
word:
        .space  16
bad:
        .ascii  "failed: assertion    "
bad_end:
        .ascii  "\n"
        .p2align 12
page:
        .space  8192
