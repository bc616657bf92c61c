// Package serve runs HTTP servers whose port another process may still use.
package serve

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

// retryPeriod is how long Run waits before it tries again to listen.
const retryPeriod = 2 * time.Second

// Server is an HTTP server.
type Server struct {
	// Name is the name of the server in messages.
	Name string
	// Address is the address and port to listen on, as Address returns it.
	Address string
	Handler http.Handler
	// HardFail makes Run return an error if the address is not available. Otherwise Run retries until it is.
	HardFail bool
	// Failed, if not nil, is called once when the address is not available, and again only after it has been available in between.
	Failed func(error)

	listen func(ctx context.Context, network, address string) (net.Listener, error) // in tests
}

// Run serves until ctx ends. It returns an error only with HardFail.
func (s *Server) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	listen := s.listen
	if listen == nil {
		listen = (&net.ListenConfig{}).Listen
	}
	for failed := false; ; {
		listener, err := listen(ctx, "tcp", s.Address)
		if err == nil {
			if failed {
				logger.Info("The port is free now", "server", s.Name, "address", s.Address)
			}
			failed = false
			err = s.serve(ctx, listener)
		}
		if ctx.Err() != nil {
			return nil
		}
		err = fmt.Errorf("serve %s on %s: %w", s.Name, s.Address, err)
		if s.HardFail {
			return err
		}
		if !failed {
			failed = true
			s.reportFailure(logger, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryPeriod):
		}
	}
}

func (s *Server) reportFailure(logger klog.Logger, err error) {
	logger.Error(err, "Cannot serve; trying again until the port is free")
	if s.Failed != nil {
		s.Failed(err)
	}
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Handler,
		// Not ReadTimeout: that also ends the context of a request that takes longer to answer, such as a CPU profile of a minute.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	return server.Serve(listener)
}

// Address parses an address to listen on, and adds the default port if it has none. The unspecified address of either family stands for
// all addresses of both families. An empty text returns an empty address: do not listen.
func Address(text string, defaultPort uint16) (string, error) {
	if text == "" {
		return "", nil
	}
	if addr, err := netip.ParseAddr(trimBrackets(text)); err == nil {
		text = net.JoinHostPort(addr.String(), strconv.Itoa(int(defaultPort)))
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%q is not an IP address and port such as 0.0.0.0:%d: %w", text, defaultPort, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q: the port %q is not between 1 and 65535", text, port)
	}
	if host == "" {
		return net.JoinHostPort("", port), nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "", fmt.Errorf("%q: %q is not an IP address: %w", text, host, err)
	}
	if addr.IsUnspecified() {
		return net.JoinHostPort("", port), nil
	}
	return net.JoinHostPort(host, port), nil
}

// trimBrackets removes the brackets around an IPv6 address.
func trimBrackets(text string) string {
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		return text[1 : len(text)-1]
	}
	return text
}
