# arch: x86_64
# purpose: The sieve of Eratosthenes over a table in memory: integer work with many stores.
# args: none
# stdin: not read
# stdout: how many primes there are below 100000
# status: 0
# test: stdout="9592\n"

        .equ    LIMIT, 100000

_start:
        lea     rbx, [rip + composite]
        mov     ecx, 2                  // candidate
        xor     r12d, r12d              // primes found
candidate:
        cmp     byte ptr [rbx + rcx], 0
        jne     not_prime
        inc     r12
        mov     rdx, rcx
        imul    rdx, rcx
strike:
        cmp     rdx, LIMIT
        jae     not_prime
        mov     byte ptr [rbx + rdx], 1
        add     rdx, rcx
        jmp     strike
not_prime:
        inc     ecx
        cmp     ecx, LIMIT
        jb      candidate
        mov     rax, r12
        call    print_number
        mov     eax, 231
        xor     edi, edi
        syscall

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
composite:
        .space  LIMIT
