# arch: x86_64
# purpose: Burns CPU and counts what it got: each turn advances a xorshift generator and adds 1 to the 64-bit
#     word at the symbol `iterations`. A turn is the one block between the symbols `turn` and `turn_end`, so the
#     code bytes it was given are iterations * (turn_end - turn), but for the turn under way.
# args: the number of turns; none or 0: for ever
# stdin: not read
# stdout: the generator's last state
# status: 0
# test: args="1" stdout="723471715\n"
# test: args="100000" stdout="196514455\n"
# test: endless

_start:
        call    parse_argument
        mov     ebx, 2463534242         // the state; never 0
        lea     rdi, [rip + iterations]
turn:
        mov     eax, ebx
        shl     eax, 13
        xor     ebx, eax
        mov     eax, ebx
        shr     eax, 17
        xor     ebx, eax
        mov     eax, ebx
        shl     eax, 5
        xor     ebx, eax
        inc     qword ptr [rdi]
        dec     rcx
        jnz     turn
turn_end:
        mov     eax, ebx
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
iterations:
        .quad   0
