# arch: x86_64
# purpose: Prints a line, works for a while, prints the next: a console that moves.
# args: how many lines (none or 0: for ever), then how many turns of work between them (default 1000000)
# stdin: not read
# stdout: the lines "count N", from 1 on
# status: 0
# test: args="3 10" stdout="count 1\ncount 2\ncount 3\n"
# test: args="1" stdout="count 1\n"
# test: endless

_start:
        xor     r12d, r12d              // lines left; 0 wraps round: for ever
        mov     r13d, 1000000           // turns
        mov     rbx, [rsp]              // argc
        cmp     rbx, 2
        jb      ready
        mov     rsi, [rsp + 16]
        call    parse_number
        mov     r12, rcx
        cmp     rbx, 3
        jb      ready
        mov     rsi, [rsp + 24]
        call    parse_number
        mov     r13, rcx
ready:
        xor     r14d, r14d              // the count
line:
        inc     r14
        mov     rax, r14
        call    print_line
        dec     r12
        jz      done
        mov     rcx, r13
        inc     rcx
work:
        dec     rcx
        jnz     work
        jmp     line
done:
        mov     eax, 231
        xor     edi, edi
        syscall

parse_number:                           // rsi: text; the number in rcx
        xor     ecx, ecx
parse:
        movzx   eax, byte ptr [rsi]
        sub     eax, 48
        cmp     eax, 9
        ja      parsed
        imul    rcx, rcx, 10
        add     rcx, rax
        inc     rsi
        jmp     parse
parsed:
        ret

print_line:                             // rax: the number; one write, so that lines stay whole
        sub     rsp, 40
        lea     rsi, [rsp + 39]
        mov     byte ptr [rsi], 10
        mov     edi, 10
digit:
        xor     edx, edx
        div     rdi
        add     dl, 48
        dec     rsi
        mov     [rsi], dl
        test    rax, rax
        jnz     digit
        sub     rsi, 6
        mov     dword ptr [rsi], 0x6e756f63
        mov     word ptr [rsi + 4], 0x2074
        lea     rdx, [rsp + 40]
        sub     rdx, rsi
        mov     eax, 1
        mov     edi, 1
        syscall
        add     rsp, 40
        ret
