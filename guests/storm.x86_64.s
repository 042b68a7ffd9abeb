# arch: x86_64
# purpose: Calls getppid again and again: what a system call costs. Counts in the word at the symbol `calls`.
# args: the number of calls; none or 0: for ever
# stdin: not read
# stdout: the number of calls
# status: 0
# test: args="1" stdout="1\n"
# test: args="1000" stdout="1000\n"
# test: endless

_start:
        call    parse_argument
        mov     r12, rcx
        lea     rbx, [rip + calls]
storm:
        mov     eax, 110                // getppid()
        syscall
        inc     qword ptr [rbx]
        dec     r12
        jnz     storm
        mov     rax, [rbx]
        call    print_number
        mov     eax, 231
        xor     edi, edi
        syscall

parse_argument:                         // the first argument as a number in rcx; 0 when there is none
        xor     ecx, ecx
        cmp     qword ptr [rsp + 8], 2
        jb      parsed
        mov     rsi, [rsp + 24]
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

print_number:                           // rax: the number; a newline follows
        sub     rsp, 40
        lea     rsi, [rsp + 31]
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
        lea     rdx, [rsp + 32]
        sub     rdx, rsi
        mov     eax, 1
        mov     edi, 1
        syscall
        add     rsp, 40
        ret

# data
calls:
        .quad   0
