package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	// ErrRefused means that the network or the host said no: a TCP reset, or
	// an ICMP unreachable or prohibited message.
	ErrRefused = errors.New("refused")
	// ErrTimeout means that nobody answered.
	ErrTimeout = errors.New("timed out")
)

// defaultTimeout leaves time for a second SYN, sent after one second. As all
// hosts are on one machine, an ICMP reject can arrive while connect still
// holds the socket. For IPv6 the kernel then only notes it, and the attempt
// ends with the reject of the next SYN.
const defaultTimeout = 2500 * time.Millisecond

// Answer is what a Server said.
type Answer struct {
	// Server is the address and port that served.
	Server netip.AddrPort
	// Client is the client's address and port as the server saw it.
	Client netip.AddrPort
	// Took is the time from the first packet to the answer.
	Took time.Duration
}

// AskOption changes how a question is asked.
type AskOption func(*askOptions)

type askOptions struct {
	from    netip.AddrPort
	timeout time.Duration
	reset   bool
}

// From sets the client's address. A zero port leaves it to the kernel. To
// use the same port again at once, say Reset as well.
func From(addr netip.AddrPort) AskOption { return func(o *askOptions) { o.from = addr } }

// Timeout sets how long to wait for the answer, 2.5 seconds by default.
func Timeout(d time.Duration) AskOption { return func(o *askOptions) { o.timeout = d } }

// Reset makes TCP connections end with RST, so that they leave no TIME_WAIT
// behind and thousands in a row do not run out of ports.
func Reset() AskOption { return func(o *askOptions) { o.reset = true } }

// Ask asks a Server once over "tcp" or "udp". The error is ErrRefused or
// ErrTimeout where it was one of these.
func (h *Host) Ask(ctx context.Context, network string, to netip.AddrPort, opts ...AskOption) (Answer, error) {
	c, err := h.open(ctx, network, to, opts)
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s %s from %s: %w", network, to, h.Name, classify(err))
	}
	return c.Answer, c.Close()
}

// AskMany asks n times, each on a connection of its own that ends as with
// Reset, with so many at once. It returns how often each server answered. It
// asks on after errors; then the error has the number of them and the first.
func (h *Host) AskMany(ctx context.Context, network string, to netip.AddrPort, n, parallel int, opts ...AskOption) (map[netip.AddrPort]int, error) {
	opts = append([]AskOption{Reset()}, opts...)
	var (
		mu     sync.Mutex
		counts = map[netip.AddrPort]int{}
		errs   []error
		wg     sync.WaitGroup
	)
	questions := make(chan struct{}, n)
	for range n {
		questions <- struct{}{}
	}
	close(questions)
	for range max(parallel, 1) {
		wg.Go(func() {
			for range questions {
				a, err := h.Ask(ctx, network, to, opts...)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					counts[a.Server]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return counts, fmt.Errorf("%d of %d failed, first: %w", len(errs), n, errs[0])
	}
	return counts, nil
}

// Conn is a standing connection to a Server that has given its answer.
type Conn struct {
	// Answer is the server's first line.
	Answer Answer

	conn  net.Conn
	read  *bufio.Reader
	reset bool
}

// Connect opens a TCP connection to a Server and keeps it. Context and timeout
// hold until the answer.
func (h *Host) Connect(ctx context.Context, to netip.AddrPort, opts ...AskOption) (*Conn, error) {
	c, err := h.open(ctx, "tcp", to, opts)
	if err != nil {
		return nil, fmt.Errorf("connect to %s from %s: %w", to, h.Name, classify(err))
	}
	return c, nil
}

func (h *Host) open(ctx context.Context, network string, to netip.AddrPort, opts []AskOption) (*Conn, error) {
	o := askOptions{timeout: defaultTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	start := time.Now()
	conn, err := h.Dial(ctx, network, to, o.from)
	if err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, read: bufio.NewReaderSize(conn, 512), reset: o.reset}
	if network == "udp" {
		_, err = conn.Write([]byte("?\n"))
	}
	var line string
	if err == nil {
		line, err = c.readLine(ctx)
	}
	if err == nil {
		c.Answer, err = parseAnswer(line)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	c.Answer.Took = time.Since(start)
	return c, nil
}

// Echo sends a line of text on the connection and waits for the server to
// send it back, until the context's deadline or for 2.5 seconds.
func (c *Conn) Echo(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	if _, err := c.conn.Write([]byte(text + "\n")); err != nil {
		return fmt.Errorf("echo: %w", classify(err))
	}
	line, err := c.readLine(ctx)
	if err != nil {
		return fmt.Errorf("echo: %w", classify(err))
	}
	if line != text+"\n" {
		return fmt.Errorf("echo: sent %q, got back %q", text+"\n", line)
	}
	return nil
}

func (c *Conn) readLine(ctx context.Context) (string, error) {
	// The deadline is set when the context is done, so that it covers
	// cancellation as well; stop tells whether that has happened.
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	line, err := c.read.ReadString('\n')
	if !stop() && err != nil {
		return "", ctx.Err()
	}
	return line, err
}

// Close ends the connection.
func (c *Conn) Close() error {
	if tcp, ok := c.conn.(*net.TCPConn); ok && c.reset {
		_ = tcp.SetLinger(0)
	}
	return c.conn.Close()
}

func parseAnswer(line string) (Answer, error) {
	server, client, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	s, errS := netip.ParseAddrPort(server)
	c, errC := netip.ParseAddrPort(client)
	if !ok || errS != nil || errC != nil {
		return Answer{}, fmt.Errorf("not an answer: %q", line)
	}
	return Answer{Server: s, Client: c}, nil
}

// classify adds ErrRefused or ErrTimeout to an error.
func classify(err error) error {
	for _, errno := range []syscall.Errno{
		syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENOPROTOOPT, // protocol unreachable
		syscall.EACCES, syscall.EPERM, // prohibited
	} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return err
}
