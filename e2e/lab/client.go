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

// Answer is what a Server said.
type Answer struct {
	// Server is the address and port that served.
	Server netip.AddrPort
	// Client is the client's address and port as the server saw it.
	Client netip.AddrPort
	// Took is the time from the first packet to the answer.
	Took time.Duration
	// Resent is how many packets the client's kernel sent again up to the
	// answer. It counts what a clock can't tell on a slow machine: whether a
	// packet was lost. UDP sends nothing again. It is set with an error too.
	Resent int
	// Lost means that more than one SYN was sent again, and that the server did
	// not answer the first one: it was lost, and not only answered late. The
	// kernel tells by the timestamp in the SYN-ACK, as of Linux 5.2.
	Lost bool
}

// AskOption changes how a question is asked.
type AskOption func(*askOptions)

type askOptions struct {
	from    netip.AddrPort
	timeout time.Duration
	reset   bool
}

// From sets the client's address. A zero port stands for the host's next
// source port. To use the same port again at once, use Reset as well.
func From(addr netip.AddrPort) AskOption { return func(o *askOptions) { o.from = addr } }

// Timeout sets how long to wait for the answer, AnswerTimeout by default. It
// is taken as it is, without Patience.
func Timeout(d time.Duration) AskOption { return func(o *askOptions) { o.timeout = d } }

// Reset makes TCP connections end with RST, so that they leave no TIME_WAIT
// behind and thousands in a row do not run out of ports.
func Reset() AskOption { return func(o *askOptions) { o.reset = true } }

// Ask asks a Server once over "tcp" or "udp". The error is ErrRefused or
// ErrTimeout where it was one of these.
func (h *Host) Ask(ctx context.Context, network string, to netip.AddrPort, opts ...AskOption) (Answer, error) {
	c, err := h.open(ctx, network, to, opts)
	if err != nil {
		return c.Answer, fmt.Errorf("ask %s %s from %s, source port %d: %w", network, to, h.Name, c.Answer.Client.Port(), classify(err))
	}
	return c.Answer, c.Close()
}

// AskPromptly is Ask for traffic that must not be disturbed: an answer for
// which the client had to send more than one packet again is an error.
func (h *Host) AskPromptly(ctx context.Context, network string, to netip.AddrPort, opts ...AskOption) (Answer, error) {
	a, err := h.Ask(ctx, network, to, opts...)
	// One packet may be: where all hosts are on one machine, an ICMP reject
	// can arrive while connect still holds the socket. For IPv6 the kernel
	// then only notes it, and the attempt ends with the reject of the next SYN.
	if err == nil && a.Resent > 1 {
		err = fmt.Errorf("ask %s %s from %s, source port %d: answered after %v, with %d packets sent again", network, to, h.Name, a.Client.Port(), a.Took, a.Resent)
	}
	return a, err
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

// Flow asks a Server over UDP and keeps the socket, to ask again from the same
// port.
func (h *Host) Flow(ctx context.Context, to netip.AddrPort, opts ...AskOption) (*Conn, error) {
	c, err := h.open(ctx, "udp", to, opts)
	if err != nil {
		return nil, fmt.Errorf("ask udp %s from %s, source port %d: %w", to, h.Name, c.Answer.Client.Port(), classify(err))
	}
	return c, nil
}

// Again asks once more on a Flow, and waits as Echo does.
func (c *Conn) Again(ctx context.Context) (Answer, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		return Answer{}, err
	}
	start := time.Now()
	if _, err := c.conn.Write([]byte("?\n")); err != nil {
		return Answer{}, fmt.Errorf("ask again: %w", classify(err))
	}
	line, err := c.readLine(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("ask again: %w", classify(err))
	}
	var a Answer
	a.Server, a.Client, err = parseAnswer(line)
	a.Took = time.Since(start)
	return a, err
}

// Connect opens a TCP connection to a Server and keeps it. Context and timeout
// hold until the answer.
func (h *Host) Connect(ctx context.Context, to netip.AddrPort, opts ...AskOption) (*Conn, error) {
	c, err := h.open(ctx, "tcp", to, opts)
	if err != nil {
		return nil, fmt.Errorf("connect to %s from %s, source port %d: %w", to, h.Name, c.Answer.Client.Port(), classify(err))
	}
	return c, nil
}

// open returns a Conn with an error too, for what its Answer has by then.
func (h *Host) open(ctx context.Context, network string, to netip.AddrPort, opts []AskOption) (*Conn, error) {
	o := askOptions{timeout: AnswerTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	start := time.Now()
	conn, from, resent, err := h.dialFromNextPort(ctx, network, to, o.from)
	c := &Conn{Answer: Answer{Client: from, Resent: resent}, conn: conn, reset: o.reset}
	if err != nil {
		return c, err
	}
	if err := c.begin(ctx, network); err != nil {
		_ = c.Close()
		return c, err
	}
	c.Answer.Took = time.Since(start)
	return c, nil
}

// begin reads the server's first line, which over UDP has to be asked for.
func (c *Conn) begin(ctx context.Context, network string) error {
	c.read = bufio.NewReaderSize(c.conn, 512)
	if network == "udp" {
		if _, err := c.conn.Write([]byte("?\n")); err != nil {
			return err
		}
	}
	line, err := c.readLine(ctx)
	info := c.info()
	c.Answer.Resent, c.Answer.Lost = info.resent, info.lostSYN()
	if err != nil {
		return err
	}
	c.Answer.Server, c.Answer.Client, err = parseAnswer(line)
	return err
}

// Echo sends a line of text on the connection and waits for the server to
// send it back, until the context's deadline, or for AnswerTimeout where it has
// none.
func (c *Conn) Echo(ctx context.Context, text string) error {
	ctx, cancel := withDeadline(ctx)
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

// Resent is how many packets the client's kernel has sent again on the
// connection so far. On a busy machine that need not mean that one was lost:
// an acknowledgment may be late.
func (c *Conn) Resent() int { return c.info().resent }

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, AnswerTimeout)
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

func parseAnswer(line string) (server, client netip.AddrPort, err error) {
	left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	server, errS := netip.ParseAddrPort(left)
	client, errC := netip.ParseAddrPort(right)
	if !ok || errS != nil || errC != nil {
		return server, client, fmt.Errorf("not an answer: %q", line)
	}
	return server, client, nil
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
