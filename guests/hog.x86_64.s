# arch: x86_64
# purpose: Takes memory with mmap, 1 MiB at a time, and writes to every page of it, until it is refused.
# args: how many MiB to take at most; none or 0: until the kernel says no
# stdin: not read
# stdout: how many MiB it got
# status: 0
# test: args="4" stdout="4 MiB\n"
# test: memory="16M" stdout~"1?[0-9] MiB\n"

        .equ    CHUNK, 0x100000

_start:
        call    parse_argument
        mov     r12, rcx
        xor     r13d, r13d              // MiB taken
take:
        mov     eax, 9                  // mmap(0, CHUNK, read write, private anonymous, -1, 0)
        xor     edi, edi
        mov     esi, CHUNK
        mov     edx, 3
        mov     r10d, 0x22
        mov     r8, -1
        xor     r9d, r9d
        syscall
        cmp     rax, -4095
        jae     print
        lea     rcx, [rax + CHUNK]
touch:
        mov     [rax], rax
        add     rax, 4096
        cmp     rax, rcx
        jb      touch
        inc     r13
        cmp     r13, r12
        jne     take
print:
        mov     rax, r13
        call    print_number
        mov     eax, 1
        mov     edi, 1
        lea     rsi, [rip + unit]
        mov     edx, 5
        syscall
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

print_number:                           // rax: the number
        sub     rsp, 40
        lea     rsi, [rsp + 32]
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

unit:
        .ascii  " MiB\n"
