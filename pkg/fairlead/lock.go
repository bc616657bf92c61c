package fairlead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// nodeLock is the name of a socket that only one Fairlead on a node can listen on. Abstract sockets belong to the network namespace, as
// the rules do; they need no file, and disappear with the process, however it ends.
const nodeLock = "@fairlead"

// lockPause is how long to wait before trying again to listen.
const lockPause = time.Second

// holdNode waits until no other Fairlead forwards this node's traffic: two would overwrite each other's rules forever. It logs once which
// process it waits for, and calls waiting with that process. release lets the next one start. An error means that ctx has ended.
func holdNode(ctx context.Context, name, self string, waiting func(other string)) (release func(), err error) {
	logger := klog.FromContext(ctx)
	for logged := false; ; {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", name)
		if err == nil {
			if logged {
				logger.Info("The other Fairlead has ended, going on")
			}
			go answer(listener, self)
			return func() { listener.Close() }, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			logger.Error(err, "Cannot check for another Fairlead on this node, going on without the check")
			return func() {}, nil
		}
		who, trusted, err := holder(ctx, name)
		switch {
		case err != nil: // it may just have ended
		case !trusted:
			logger.Info("Going on although an unprivileged process has the socket by which two Fairleads detect each other; end that process", "process", who, "socket", name)
			return func() {}, nil
		case !logged:
			logged = true
			logger.Info("Waiting: another Fairlead forwards this node's traffic; end one of the two", "other", who)
			waiting(who)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// answer sends self to every process that connects.
func answer(listener net.Listener, self string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(conn, self) // fails if the peer is gone
		conn.Close()
	}
}

// holder returns the process that holds the node. Every process in the network namespace can listen on an abstract socket; trusted is
// whether this one could be a Fairlead, by its user.
func holder(ctx context.Context, name string) (who string, trusted bool, err error) {
	ctx, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", name)
	if err != nil {
		return "", false, err
	}
	defer conn.Close()
	credentials, err := peer(conn)
	if err != nil {
		return "", false, err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	text, err := io.ReadAll(io.LimitReader(conn, 256))
	if err != nil && len(text) == 0 {
		text = []byte("unknown program")
	}
	who = strings.TrimSpace(string(text))
	if credentials.Pid != 0 { // it is 0 in a PID namespace that is not visible from this one
		who = fmt.Sprintf("%s, process %d", who, credentials.Pid)
	}
	return who, credentials.Uid == 0 || int(credentials.Uid) == os.Geteuid(), nil
}

func peer(conn net.Conn) (*unix.Ucred, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%T is not a unix socket", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var credentials *unix.Ucred
	var got error
	err = raw.Control(func(fd uintptr) {
		credentials, got = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return credentials, errors.Join(err, got)
}
