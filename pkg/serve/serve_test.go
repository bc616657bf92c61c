package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

func TestTheAddressToListenOn(t *testing.T) {
	tests := []struct{ name, address, want string }{
		{"an address", "127.0.0.1:1234", "127.0.0.1:1234"},
		{"an IPv6 address", "[::1]:1234", "[::1]:1234"},
		{"the unspecified address means both families", "0.0.0.0:1234", ":1234"},
		{"so does the one of IPv6", "[::]:1234", ":1234"},
		{"an address with a zone", "[fe80::1%eth0]:1234", "[fe80::1%eth0]:1234"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := (&Server{Address: netip.MustParseAddrPort(test.address)}).address(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// unavailable is a port that is in use for some attempts to listen on it. Then it is one of the loopback address.
type unavailable struct {
	attempts int
	failures int
	address  chan string
}

func (u *unavailable) listen(ctx context.Context, network, _ string) (net.Listener, error) {
	u.attempts++
	if u.attempts <= u.failures {
		return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, network, "127.0.0.1:0")
	if err == nil {
		u.address <- listener.Addr().String()
	}
	return listener, err
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestAPortInUseIsRetriedAndReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 5
		port := &unavailable{failures: failures, address: make(chan string, 1)}
		logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
		ctx, stop := context.WithCancel(klog.NewContext(t.Context(), logger))
		var reported []error
		s := Server{Name: "metrics", Address: netip.MustParseAddrPort("127.0.0.1:10249"), Handler: http.HandlerFunc(hello), Failed: func(err error) { reported = append(reported, err) }, listen: port.listen}
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- s.Run(ctx) }()
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get("http://" + <-port.address)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if took := time.Since(start); took != failures*retryPeriod {
			t.Errorf("served after %v, want %v", took, failures*retryPeriod)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(reported) != 1 || !strings.Contains(reported[0].Error(), "metrics") || !strings.Contains(reported[0].Error(), "127.0.0.1:10249") {
			t.Errorf("reported %v", reported)
		}
		log := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
		for _, message := range []string{"Cannot serve", "The port is free now"} {
			if strings.Count(log, message) != 1 {
				t.Errorf("%q is not there once:\n%s", message, log)
			}
		}
	})
}

func TestAPortInUseIsAnErrorWithHardFail(t *testing.T) {
	port := &unavailable{failures: 1}
	s := Server{Name: "metrics", Address: netip.MustParseAddrPort("127.0.0.1:10249"), HardFail: true, listen: port.listen}
	if err := s.Run(t.Context()); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), s.Address.String()) {
		t.Errorf("got %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		port := &unavailable{failures: 1 << 30}
		if err := (&Server{Address: netip.MustParseAddrPort("127.0.0.1:10249"), listen: port.listen}).Run(ctx); err != nil {
			t.Error(err)
		}
		if want := int(time.Hour / retryPeriod); port.attempts < want {
			t.Errorf("%d attempts in an hour, want %d", port.attempts, want)
		}
	})
}
