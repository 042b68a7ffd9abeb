/* Sockets: AF_UNIX with descriptors, loopback of AF_INET and AF_INET6. */
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

FAMILY("socket");

static int pair[2];

static struct sockaddr_un address;
static socklen_t length;

static void name(const char *path)
{
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    length = offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;
}

static int bound(int type, const char *path)
{
    int fd = OK(socket(AF_UNIX, type, 0));
    name(path);
    OK(bind(fd, (void *)&address, length));
    return fd;
}

CHECK(kinds)
{
    FAILS(socket(99, SOCK_STREAM, 0), EAFNOSUPPORT);
    FAILS(socket(AF_UNIX, 77, 0), EINVAL);
    FAILS(socket(AF_UNIX, SOCK_STREAM, 17), EPROTONOSUPPORT);
    FAILS(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    int fd = OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    IS(fcntl(fd, F_GETFD), FD_CLOEXEC);
    TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
    FAILS(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP);
    FAILS(listen(file_of("f", ""), 1), ENOTSOCK);
    FAILS(listen(99, 1), EBADF);
}

CHECK(stream_pairs)
{
    char text[20];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    IS(write(pair[0], "abc", 3), 3);
    IS(send(pair[0], "def", 3, 0), 3);
    IS(recv(pair[1], text, 20, MSG_PEEK), 6);
    IS(read(pair[1], text, 20), 6);
    SAME(text, "abcdef", 6);
    FAILS(recv(pair[1], text, 1, MSG_DONTWAIT), EAGAIN);
    FAILS(lseek(pair[0], 0, SEEK_CUR), ESPIPE);
    close(pair[0]);
    IS(read(pair[1], text, 1), 0);
    FAILS(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    on(SIGPIPE, note, 0);
    FAILS(write(pair[1], "x", 1), EPIPE);
    IS(notes, 1);
}

CHECK(wait_all)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    pid_t pid = OK(fork());
    if (pid == 0) {
        for (int i = 0; i < 10; i++) {
            IS(write(pair[0], "0123456789" + i, 1), 1);
            sched_yield();
        }
        _exit(0);
    }
    char text[10];
    IS(recv(pair[1], text, 10, MSG_WAITALL), 10);
    SAME(text, "0123456789", 10);
}

CHECK(datagram_pairs)
{
    char text[20];
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    IS(write(pair[0], "first", 5), 5);
    IS(write(pair[0], "", 0), 0);
    IS(write(pair[0], "second", 6), 6);
    IS(read(pair[1], text, 3), 3);
    IS(read(pair[1], text, 20), 0);
    IS(recv(pair[1], text, 3, MSG_TRUNC), 6);
    struct iovec vector = {text, 2};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    IS(write(pair[0], "third", 5), 5);
    IS(recvmsg(pair[1], &message, 0), 2);
    IS(message.msg_flags, MSG_TRUNC);
    static char large[1 << 20];
    FAILS(send(pair[0], large, sizeof large, 0), EMSGSIZE);
}

CHECK(packets_in_order)
{
    char text[20];
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    IS(write(pair[0], "one", 3), 3);
    IS(write(pair[0], "three", 5), 5);
    IS(read(pair[1], text, 20), 3);
    IS(read(pair[1], text, 20), 5);
    close(pair[0]);
    IS(read(pair[1], text, 20), 0);
}

CHECK(shutdown_of_halves)
{
    char byte;
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    OK(shutdown(pair[0], SHUT_WR));
    IS(read(pair[1], &byte, 1), 0);
    FAILS(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    IS(write(pair[1], "y", 1), 1);
    IS(read(pair[0], &byte, 1), 1);
    FAILS(shutdown(pair[0], 9), EINVAL);
    struct pollfd one = {pair[1], POLLIN | POLLRDHUP, 0};
    IS(poll(&one, 1, 0), 1);
    IS(one.revents, POLLIN | POLLRDHUP);
    FAILS(shutdown(OK(socket(AF_INET, SOCK_STREAM, 0)), SHUT_RD), ENOTCONN);
}

CHECK(listen_connect_accept)
{
    char byte;
    int server = bound(SOCK_STREAM, "s"), client = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    FAILS(connect(client, (void *)&address, length), ECONNREFUSED);
    OK(listen(server, 5));
    OK(connect(client, (void *)&address, length));
    FAILS(connect(client, (void *)&address, length), EISCONN);
    struct pollfd one = {server, POLLIN, 0};
    IS(poll(&one, 1, 0), 1);
    struct sockaddr_un peer;
    socklen_t size = sizeof peer;
    int accepted = OK(accept4(server, (void *)&peer, &size, SOCK_CLOEXEC));
    IS(size, sizeof(sa_family_t)); /* it has no name */
    IS(fcntl(accepted, F_GETFD), FD_CLOEXEC);
    IS(write(client, "x", 1), 1);
    IS(read(accepted, &byte, 1), 1);
    size = sizeof peer;
    OK(getpeername(client, (void *)&peer, &size));
    IS(strcmp(peer.sun_path, "s"), 0);
    OK(fcntl(server, F_SETFL, O_NONBLOCK));
    FAILS(accept(server, NULL, NULL), EAGAIN);
    FAILS(accept(client, NULL, NULL), EINVAL);
}

CHECK(names_in_the_filesystem)
{
    struct stat status;
    bound(SOCK_STREAM, "s");
    OK(stat("s", &status));
    TRUE(S_ISSOCK(status.st_mode));
    int fd = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    FAILS(bind(fd, (void *)&address, length), EADDRINUSE);
    FAILS(open("s", O_RDWR), ENXIO);
    OK(unlink("s"));
    FAILS(connect(fd, (void *)&address, length), ENOENT);
    OK(bind(fd, (void *)&address, length));
    name("other");
    FAILS(bind(fd, (void *)&address, length), EINVAL);
    name("missing/s");
    fd = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    FAILS(bind(fd, (void *)&address, length), ENOENT);
    close(file_of("plain", ""));
    name("plain");
    FAILS(connect(fd, (void *)&address, length), ECONNREFUSED);
    bound(SOCK_DGRAM, "d");
    FAILS(connect(fd, (void *)&address, length), EPROTOTYPE);
}

CHECK(abstract_names)
{
    int server = OK(socket(AF_UNIX, SOCK_STREAM, 0)), client = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    OK(bind(server, (void *)&address, sizeof(sa_family_t))); /* the kernel chooses */
    length = sizeof address;
    OK(getsockname(server, (void *)&address, &length));
    IS(length, sizeof(sa_family_t) + 6);
    IS(address.sun_path[0], 0);
    OK(listen(server, 1));
    OK(connect(client, (void *)&address, length));
}

CHECK(datagrams_to_names)
{
    char text[10];
    int server = bound(SOCK_DGRAM, "server"), client = bound(SOCK_DGRAM, "client");
    FAILS(write(client, "x", 1), ENOTCONN);
    name("server");
    IS(sendto(client, "hello", 5, 0, (void *)&address, length), 5);
    struct sockaddr_un from;
    socklen_t size = sizeof from;
    IS(recvfrom(server, text, 10, 0, (void *)&from, &size), 5);
    IS(strcmp(from.sun_path, "client"), 0);
    OK(connect(client, (void *)&address, length));
    IS(write(client, "x", 1), 1);
    close(server);
    FAILS(write(client, "x", 1), ECONNREFUSED);
}

static void send_descriptor(int socket, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof fd)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec vector = {"d", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    IS(sendmsg(socket, &message, 0), 1);
}

static int receive_descriptor(int socket, int flags, int room)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = room};
    IS(recvmsg(socket, &message, flags), 1);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header) {
        IS(message.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
        return -1;
    }
    IS(header->cmsg_type, SCM_RIGHTS);
    IS(header->cmsg_len, CMSG_LEN(sizeof(int)));
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

CHECK(descriptors_travel)
{
    char text[4];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    int fd = file_of("f", "data");
    send_descriptor(pair[0], fd);
    close(fd);
    int other = receive_descriptor(pair[1], MSG_CMSG_CLOEXEC, CMSG_SPACE(sizeof(int)));
    IS(fcntl(other, F_GETFD), FD_CLOEXEC);
    IS(read(other, text, 4), 4);
    SAME(text, "data", 4);
    send_descriptor(pair[0], other);
    IS(receive_descriptor(pair[1], 0, 0), -1);
}

CHECK(a_descriptor_under_way_is_open)
{
    int ends[2];
    char byte;
    OK(pipe(ends));
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    send_descriptor(pair[0], ends[1]);
    close(ends[1]);
    OK(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    FAILS(read(ends[0], &byte, 1), EAGAIN);
    close(pair[0]);
    close(pair[1]);
    ssize_t got;
    while ((got = read(ends[0], &byte, 1)) < 0) /* the host collects it in its own time */
        IS(errno, EAGAIN);
    IS(got, 0);
}

CHECK(credentials)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    int set = 1;
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    OK(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &peer, &size));
    IS(peer.pid, getpid());
    IS(peer.uid, getuid());
    OK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &set, sizeof set));
    IS(write(pair[0], "x", 1), 1);
    union {
        char bytes[CMSG_SPACE(sizeof peer)];
        struct cmsghdr align;
    } control;
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    IS(recvmsg(pair[1], &message, 0), 1);
    IS(CMSG_FIRSTHDR(&message)->cmsg_type, SCM_CREDENTIALS);
    memcpy(&peer, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof peer);
    IS(peer.pid, getpid());
}

CHECK(options)
{
    int value;
    socklen_t size = sizeof value;
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    OK(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &value, &size));
    IS(value, SOCK_DGRAM);
    OK(getsockopt(pair[0], SOL_SOCKET, SO_DOMAIN, &value, &size));
    IS(value, AF_UNIX);
    OK(getsockopt(pair[0], SOL_SOCKET, SO_ACCEPTCONN, &value, &size));
    IS(value, 0);
    OK(getsockopt(pair[0], SOL_SOCKET, SO_ERROR, &value, &size));
    IS(value, 0);
    FAILS(getsockopt(pair[0], SOL_SOCKET, 9999, &value, &size), ENOPROTOOPT);
    FAILS(setsockopt(pair[0], SOL_SOCKET, SO_TYPE, &value, size), ENOPROTOOPT);
    struct timeval brief = {0, 1000};
    char byte;
    OK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief));
    FAILS(read(pair[0], &byte, 1), EAGAIN);
}

CHECK(many_messages)
{
    char a[4], b[4];
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    struct iovec out[2] = {{"one", 3}, {"two2", 4}}, in[2] = {{a, 4}, {b, 4}};
    struct mmsghdr messages[2] = {{{.msg_iov = out, .msg_iovlen = 1}, 0}, {{.msg_iov = out + 1, .msg_iovlen = 1}, 0}};
    IS(sendmmsg(pair[0], messages, 2, 0), 2);
    IS(messages[1].msg_len, 4);
    messages[0].msg_hdr.msg_iov = in;
    messages[1].msg_hdr.msg_iov = in + 1;
    IS(recvmmsg(pair[1], messages, 2, 0, NULL), 2);
    IS(messages[0].msg_len, 3);
    SAME(b, "two2", 4);
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return place;
}

static int server_on(int type, struct sockaddr_in *place)
{
    socklen_t size = sizeof *place;
    int fd = OK(socket(AF_INET, type, 0));
    *place = loopback(0);
    OK(bind(fd, (void *)place, size));
    OK(getsockname(fd, (void *)place, &size));
    TRUE(place->sin_port != 0);
    return fd;
}

CHECK(tcp)
{
    struct sockaddr_in place, peer;
    socklen_t size = sizeof peer;
    char text[10];
    int set = 1, server = server_on(SOCK_STREAM, &place), client = OK(socket(AF_INET, SOCK_STREAM, 0));
    FAILS(connect(client, (void *)&place, sizeof place), ECONNREFUSED);
    OK(listen(server, 3));
    OK(connect(client, (void *)&place, sizeof place));
    int accepted = OK(accept(server, (void *)&peer, &size));
    IS(size, sizeof peer);
    IS(ntohl(peer.sin_addr.s_addr), INADDR_LOOPBACK);
    OK(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &set, sizeof set));
    IS(write(client, "hello", 5), 5);
    IS(recv(accepted, text, 5, MSG_WAITALL), 5);
    OK(shutdown(client, SHUT_WR));
    IS(read(accepted, text, 10), 0);
    IS(write(accepted, "bye", 3), 3);
    IS(recv(client, text, 3, MSG_WAITALL), 3);
    FAILS(bind(OK(socket(AF_INET, SOCK_STREAM, 0)), (void *)&place, sizeof place), EADDRINUSE);
}

CHECK(tcp_without_waiting)
{
    struct sockaddr_in place;
    int value = -1, server = server_on(SOCK_STREAM, &place);
    socklen_t size = sizeof value;
    OK(listen(server, 3));
    int client = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (connect(client, (void *)&place, sizeof place))
        IS(errno, EINPROGRESS);
    struct pollfd one = {client, POLLOUT, 0};
    IS(poll(&one, 1, -1), 1);
    OK(getsockopt(client, SOL_SOCKET, SO_ERROR, &value, &size));
    IS(value, 0);
    OK(accept(server, NULL, NULL));
}

CHECK(udp)
{
    struct sockaddr_in place, from;
    socklen_t size = sizeof from;
    char text[10];
    int server = server_on(SOCK_DGRAM, &place), client = OK(socket(AF_INET, SOCK_DGRAM, 0));
    FAILS(write(client, "x", 1), EDESTADDRREQ);
    IS(sendto(client, "datagram", 8, 0, (void *)&place, sizeof place), 8);
    IS(recvfrom(server, text, 10, 0, (void *)&from, &size), 8);
    IS(sendto(server, "answer", 6, 0, (void *)&from, size), 6);
    OK(connect(client, (void *)&place, sizeof place));
    IS(read(client, text, 3), 3);
    FAILS(listen(server, 1), EOPNOTSUPP);
}

CHECK(sixth_version)
{
    struct sockaddr_in6 place = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof place;
    int server = OK(socket(AF_INET6, SOCK_STREAM, 0)), client = OK(socket(AF_INET6, SOCK_STREAM, 0));
    OK(bind(server, (void *)&place, size));
    OK(getsockname(server, (void *)&place, &size));
    OK(listen(server, 1));
    OK(connect(client, (void *)&place, size));
    OK(accept(server, NULL, NULL));
}

CHECK(accept_is_interrupted)
{
    int server = bound(SOCK_STREAM, "s");
    OK(listen(server, 1));
    ticks(0);
    FAILS(accept(server, NULL, NULL), EINTR);
}
