/* Pseudo terminals and their line discipline. */
#include "check.h"

#include <pty.h>
#include <termios.h>

FAMILY("tty");

static int master, slave;

static void terminal(void)
{
    master = OK(posix_openpt(O_RDWR | O_NOCTTY));
    OK(grantpt(master));
    OK(unlockpt(master));
    slave = OK(open(ptsname(master), O_RDWR | O_NOCTTY));
}

static void mode(tcflag_t off, tcflag_t input_off, tcflag_t output_off)
{
    struct termios modes;
    OK(tcgetattr(slave, &modes));
    modes.c_lflag &= ~off;
    modes.c_iflag &= ~input_off;
    modes.c_oflag &= ~output_off;
    OK(tcsetattr(slave, TCSANOW, &modes));
}

static void type(const char *text)
{
    IS(write(master, text, strlen(text)), strlen(text));
}

static void shows(int fd, const char *expected)
{
    char text[256];
    size_t length = strlen(expected), got = 0;
    while (got < length) {
        ssize_t count = OK(read(fd, text + got, sizeof text - got));
        TRUE(count > 0);
        got += count;
    }
    IS(got, length);
    SAME(text, expected, length);
}

static int waiting(int fd)
{
    int count;
    OK(ioctl(fd, FIONREAD, &count));
    return count;
}

/* What is typed is not there at once: the host's kernel processes it in a thread of its own. */
static void until_waiting(void)
{
    while (!waiting(slave))
        sched_yield();
}

CHECK(names_and_numbers)
{
    terminal();
    unsigned number;
    char name[32];
    OK(ioctl(master, TIOCGPTN, &number));
    snprintf(name, sizeof name, "/dev/pts/%u", number);
    IS(strcmp(ptsname(master), name), 0);
    IS(strcmp(ttyname(slave), name), 0);
    IS(isatty(slave), 1);
    IS(isatty(file_of("f", "")), 0);
    struct stat status;
    OK(fstat(slave, &status));
    TRUE(S_ISCHR(status.st_mode));
    IS(status.st_rdev >> 8 & 0xfff, 136);
}

CHECK(locked_until_unlocked)
{
    master = OK(posix_openpt(O_RDWR | O_NOCTTY));
    FAILS(open(ptsname(master), O_RDWR | O_NOCTTY), EIO);
    OK(unlockpt(master));
    OK(open(ptsname(master), O_RDWR | O_NOCTTY));
}

CHECK(first_modes)
{
    terminal();
    struct termios modes;
    OK(tcgetattr(slave, &modes));
    TRUE((modes.c_lflag & (ICANON | ECHO | ISIG | IEXTEN)) == (ICANON | ECHO | ISIG | IEXTEN));
    TRUE(modes.c_iflag & ICRNL && modes.c_oflag & OPOST && modes.c_oflag & ONLCR);
    IS(modes.c_cc[VINTR], 3);
    IS(modes.c_cc[VEOF], 4);
    IS(modes.c_cc[VERASE], 127);
    IS(modes.c_cc[VMIN], 1);
    IS(cfgetospeed(&modes), B38400);
}

CHECK(lines_come_whole)
{
    terminal();
    type("ab");
    IS(waiting(slave), 0);
    type("c\rrest");
    shows(slave, "abc\n");
    IS(waiting(slave), 0);
}

CHECK(echo)
{
    terminal();
    type("hi\r");
    shows(master, "hi\r\n");
    type("\001");
    shows(master, "^A");
    mode(ECHO, 0, 0);
    type("secret\n");
    shows(slave, "hi\n");
    shows(slave, "\001secret\n");
    IS(waiting(master), 0);
}

CHECK(output_is_processed)
{
    terminal();
    IS(write(slave, "a\nb", 3), 3);
    shows(master, "a\r\nb");
    mode(0, 0, OPOST);
    IS(write(slave, "a\nb", 3), 3);
    shows(master, "a\nb");
}

CHECK(editing)
{
    terminal();
    mode(ECHO, 0, 0);
    type("abx\177c\n");
    shows(slave, "abc\n");
    type("first words\027second\n");
    shows(slave, "first second\n");
    type("forget\025this\n");
    shows(slave, "this\n");
    type("a\026\003b\n");
    shows(slave, "a\003b\n");
}

CHECK(erasing_is_shown)
{
    terminal();
    type("ab\177");
    shows(master, "ab\b \b");
    type("\025");
    shows(master, "\b \b");
}

CHECK(end_of_file)
{
    terminal();
    mode(ECHO, 0, 0);
    char text[8];
    type("\004");
    IS(read(slave, text, 8), 0);
    type("ab\004");
    IS(read(slave, text, 8), 2);
}

CHECK(short_reads_of_lines)
{
    terminal();
    mode(ECHO, 0, 0);
    char text[8];
    type("abcdef\nx\n");
    IS(read(slave, text, 4), 4);
    SAME(text, "abcd", 4);
    IS(read(slave, text, 8), 3);
    IS(read(slave, text, 8), 2);
}

CHECK(raw_bytes)
{
    terminal();
    mode(ICANON | ECHO | ISIG | IEXTEN, ICRNL | IXON, 0);
    type("\003\r\004\177");
    shows(slave, "\003\r\004\177");
}

CHECK(minimum_and_time)
{
    terminal();
    struct termios modes;
    OK(tcgetattr(slave, &modes));
    cfmakeraw(&modes);
    modes.c_cc[VMIN] = 0;
    modes.c_cc[VTIME] = 0;
    OK(tcsetattr(slave, TCSANOW, &modes));
    char text[8];
    IS(read(slave, text, 8), 0);
    modes.c_cc[VTIME] = 1;
    OK(tcsetattr(slave, TCSANOW, &modes));
    IS(read(slave, text, 8), 0);
    modes.c_cc[VMIN] = 3;
    modes.c_cc[VTIME] = 0;
    OK(tcsetattr(slave, TCSANOW, &modes));
    pid_t parent = getpid(), pid = OK(fork());
    if (pid == 0) {
        type("ab");
        until_state(parent, "S");
        type("c");
        _exit(0);
    }
    IS(read(slave, text, 8), 3);
    IS(ended(pid), 0);
}

CHECK(cr_and_nl_mapping)
{
    terminal();
    mode(ECHO, ICRNL, 0);
    type("a\rb\n");
    shows(slave, "a\rb\n");
    struct termios modes;
    OK(tcgetattr(slave, &modes));
    modes.c_iflag |= INLCR | ISTRIP;
    modes.c_lflag &= ~ICANON;
    OK(tcsetattr(slave, TCSANOW, &modes));
    type("c\n\xe1");
    shows(slave, "c\ra");
}

CHECK(flushing)
{
    terminal();
    mode(ECHO, 0, 0);
    type("gone\n");
    until_waiting();
    OK(tcflush(slave, TCIFLUSH));
    IS(waiting(slave), 0);
    FAILS(tcflush(slave, 9), EINVAL);
    type("also gone\n");
    until_waiting();
    struct termios modes;
    OK(tcgetattr(slave, &modes));
    OK(tcsetattr(slave, TCSAFLUSH, &modes));
    IS(waiting(slave), 0);
}

CHECK(window_sizes)
{
    terminal();
    struct winsize size = {25, 80, 0, 0}, now;
    OK(ioctl(master, TIOCSWINSZ, &size));
    OK(ioctl(slave, TIOCGWINSZ, &now));
    TRUE(now.ws_row == 25 && now.ws_col == 80);
}

CHECK(polling)
{
    terminal();
    struct pollfd one = {slave, POLLIN | POLLOUT, 0};
    IS(poll(&one, 1, 0), 1);
    IS(one.revents, POLLOUT);
    type("x");
    poll(&one, 1, 0);
    IS(one.revents, POLLOUT);
    type("\n");
    while (one.revents == POLLOUT)
        poll(&one, 1, 0);
    IS(one.revents, POLLIN | POLLOUT);
}

CHECK(the_other_side_goes)
{
    terminal();
    char byte;
    close(slave);
    FAILS(read(master, &byte, 1), EIO);
    struct pollfd one = {master, POLLIN, 0};
    IS(poll(&one, 1, 0), 1);
    TRUE(one.revents & POLLHUP);
    slave = OK(open(ptsname(master), O_RDWR | O_NOCTTY));
    close(master);
    IS(read(slave, &byte, 1), 0);
    FAILS(write(slave, &byte, 1), EIO);
    struct termios modes;
    FAILS(tcgetattr(slave, &modes), EIO);
}

CHECK(packet_mode)
{
    terminal();
    int set = 1;
    char text[8];
    OK(ioctl(master, TIOCPKT, &set));
    IS(write(slave, "x", 1), 1);
    IS(read(master, text, 8), 2);
    IS(text[0], TIOCPKT_DATA);
    OK(tcflush(slave, TCIFLUSH));
    IS(read(master, text, 8), 1);
    TRUE(text[0] & TIOCPKT_FLUSHREAD);
    OK(tcflow(slave, TCOOFF));
    OK(tcflow(slave, TCOON));
    struct pollfd one = {master, POLLPRI, 0};
    IS(poll(&one, 1, 0), 1);
    IS(one.revents, POLLPRI);
    IS(read(master, text, 8), 1);
    IS(text[0], TIOCPKT_START);
}

CHECK(simulated_input)
{
    terminal();
    mode(ECHO, 0, 0);
    OK(ioctl(slave, TIOCSTI, "z"));
    type("\n");
    shows(slave, "z\n");
}
