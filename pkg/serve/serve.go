// Package serve runs HTTP servers whose port another process may still use.
package serve

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"k8s.io/klog/v2"
)

// retryPeriod is how long Run waits before it tries again to listen.
const retryPeriod = 2 * time.Second

// Server is an HTTP server.
type Server struct {
	// Name is the name of the server in messages.
	Name string
	// Address is the address and port to listen on. An unspecified address means all addresses of both IP families.
	Address netip.AddrPort
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
		listener, err := listen(ctx, "tcp", s.address())
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

// address returns the address to listen on. The unspecified address of one family would leave out the other one.
func (s *Server) address() string {
	if s.Address.Addr().IsUnspecified() {
		return net.JoinHostPort("", strconv.Itoa(int(s.Address.Port())))
	}
	return s.Address.String()
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
