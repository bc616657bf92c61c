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

// nodeLock is the name of a socket that only one Fairlead on a node can have. An abstract one is of the network namespace, just as the
// rules are; it needs no file, and goes with the process, however that ends.
const nodeLock = "@fairlead"

// lockPause is how long to wait before another Fairlead is looked for again.
const lockPause = time.Second

// holdNode waits until no other Fairlead forwards this node's traffic: two of them would rewrite each other's rules for ever. It says
// once who has the node. What it returns lets the next one in. An error means that ctx has ended.
func holdNode(ctx context.Context, name, self string) (release func(), err error) {
	logger := klog.FromContext(ctx)
	for said := false; ; {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", name)
		if err == nil {
			if said {
				logger.Info("The other Fairlead has ended; going on")
			}
			go answer(listener, self)
			return func() { listener.Close() }, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			logger.Error(err, "Cannot tell whether another Fairlead runs on this node; going on as if there were none")
			return func() {}, nil
		}
		who, trusted, err := holder(ctx, name)
		switch {
		case err != nil: // it may be just ending
		case !trusted:
			logger.Info("Somebody without privileges has taken the name by which one Fairlead knows of another; going on without, end that process", "holder", who, "socket", name)
			return func() {}, nil
		case !said:
			said = true
			logger.Info("Waiting: another Fairlead forwards this node's traffic; end one of the two", "other", who)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// answer tells everybody who asks who holds the node.
func answer(listener net.Listener, self string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(conn, self) // whoever asks and does not listen need not know
		conn.Close()
	}
}

// holder asks who holds the node. Anybody in the network namespace can have an abstract socket: only those are trusted who have the
// rights that Fairlead needs.
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
		text = []byte("it does not say who it is")
	}
	who = strings.TrimSpace(string(text))
	if credentials.Pid != 0 { // or it is in a PID namespace that cannot be seen from here
		who = fmt.Sprintf("%s, process %d", who, credentials.Pid)
	}
	return who, credentials.Uid == 0 || int(credentials.Uid) == os.Geteuid(), nil
}

func peer(conn net.Conn) (*unix.Ucred, error) {
	socket, is := conn.(*net.UnixConn)
	if !is {
		return nil, fmt.Errorf("%T is no unix socket", conn)
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
