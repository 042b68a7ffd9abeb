# arch: i386
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
        xor     edx, edx                // edx:ecx: turns left; 0 wraps round: for ever
        mov     ebx, 2463534242         // the state; never 0
        lea     edi, [iterations]
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
        add     dword ptr [edi], 1
        adc     dword ptr [edi + 4], 0
        sub     ecx, 1
        sbb     edx, 0
        mov     eax, ecx
        or      eax, edx
        jnz     turn
turn_end:
        mov     eax, ebx
        call    print_number
        mov     eax, 252
        xor     ebx, ebx
        int     0x80

parse_argument:                         // the first argument as a number in ecx; 0 when there is none
        xor     ecx, ecx
        cmp     dword ptr [esp + 4], 2
        jb      parsed
        mov     edx, [esp + 12]
parse:
        movzx   eax, byte ptr [edx]
        sub     eax, 48
        cmp     eax, 9
        ja      parsed
        imul    ecx, ecx, 10
        add     ecx, eax
        inc     edx
        jmp     parse
parsed:
        ret

print_number:                           // eax: the number; a newline follows
        sub     esp, 40
        lea     ecx, [esp + 31]
        mov     byte ptr [ecx], 10
        mov     ebx, 10
digit:
        xor     edx, edx
        div     ebx
        add     dl, 48
        dec     ecx
        mov     [ecx], dl
        test    eax, eax
        jnz     digit
        lea     edx, [esp + 32]
        sub     edx, ecx
        mov     eax, 4
        mov     ebx, 1
        int     0x80
        add     esp, 40
        ret

# data
iterations:
        .quad   0
