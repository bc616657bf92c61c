// Package serve runs HTTP servers whose port somebody else may still have.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"k8s.io/klog/v2"
)

// retry is how long to wait before a port is tried again.
const retry = 2 * time.Second

// Server is one HTTP server.
type Server struct {
	// Name is what it is called in messages.
	Name string
	// Address is as Address returns it.
	Address string
	Handler http.Handler
	// HardFail makes an address that cannot be had an error. Otherwise it is tried until it can be.
	HardFail bool
	// Failed is told once that the address cannot be had, and again only if it could in between; nil: nobody is.
	Failed func(error)
}

// Run serves until ctx ends. It returns an error only with HardFail.
func (s *Server) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	for said := false; ; {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
		if err == nil {
			if said {
				logger.Info("The port is free now", "server", s.Name, "address", s.Address)
			}
			said = false
			err = s.serve(ctx, listener)
		}
		if ctx.Err() != nil {
			return nil
		}
		err = fmt.Errorf("serve %s on %s: %w", s.Name, s.Address, err)
		if s.HardFail {
			return err
		}
		if !said {
			said = true
			logger.Error(err, "Cannot serve; trying again until the port is free")
			if s.Failed != nil {
				s.Failed(err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
	}
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	return server.Serve(listener)
}

// Address reads an address to listen on. A port that is left out is the usual one; the wildcard of either family means all addresses of
// both, since nobody says of a node's whole address which family it is asked by. Empty means nowhere.
func Address(text string, usual uint16) (string, error) {
	if text == "" {
		return "", nil
	}
	if addr, err := netip.ParseAddr(trimBrackets(text)); err == nil {
		text = net.JoinHostPort(addr.String(), strconv.Itoa(int(usual)))
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%q is not an address and port such as 0.0.0.0:%d: %w", text, usual, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q: the port %q is not between 1 and 65535", text, port)
	}
	if host == "" {
		return net.JoinHostPort("", port), nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "", errors.Join(fmt.Errorf("%q: %q is not an IP address", text, host), err)
	}
	if addr.IsUnspecified() {
		return net.JoinHostPort("", port), nil
	}
	return net.JoinHostPort(host, port), nil
}

// trimBrackets takes off those that an IPv6 address is written in beside a port.
func trimBrackets(text string) string {
	if len(text) > 2 && text[0] == '[' && text[len(text)-1] == ']' {
		return text[1 : len(text)-1]
	}
	return text
}
