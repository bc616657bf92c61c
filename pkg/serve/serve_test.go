package serve

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAddress(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"empty is nowhere", "", ""},
		{"an address and port", "127.0.0.1:1234", "127.0.0.1:1234"},
		{"an IPv6 address and port", "[::1]:1234", "[::1]:1234"},
		{"an address alone has the usual port", "127.0.0.1", "127.0.0.1:10249"},
		{"an IPv6 address alone has the usual port", "::1", "[::1]:10249"},
		{"an IPv6 address alone may stand in brackets", "[::1]", "[::1]:10249"},
		{"a wildcard means both families", "0.0.0.0:1234", ":1234"},
		{"so does that of IPv6", "[::]:1234", ":1234"},
		{"so does a wildcard alone", "0.0.0.0", ":10249"},
		{"so does a port alone", ":1234", ":1234"},
		{"an address with a zone", "[fe80::1%eth0]:1234", "[fe80::1%eth0]:1234"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Address(test.text, 10249)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
	for _, text := range []string{"localhost:1234", "1234", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:http", "127.0.0.1:65536", "[::1"} {
		if got, err := Address(text, 10249); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %q and %v, want an error that names it", text, got, err)
		}
	}
}

// taken returns an address that somebody has, and a function that gives it up.
func taken(t *testing.T) (string, func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() { l.Close() }
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestATakenPortIsTriedUntilItIsFree(t *testing.T) {
	address, free := taken(t)
	failed := make(chan error, 10)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := Server{Name: "metrics", Address: address, Handler: http.HandlerFunc(hello), Failed: func(err error) { failed <- err }}
	go func() { done <- s.Run(ctx) }()
	if err := <-failed; !strings.Contains(err.Error(), "metrics") || !strings.Contains(err.Error(), address) {
		t.Errorf("%v does not say what cannot be served and where", err)
	}
	time.Sleep(retry + retry/2) // it has been tried once more
	free()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		response, err := http.Get("http://" + address)
		if err == nil {
			response.Body.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(failed) > 0 {
		t.Errorf("said again: %v", <-failed)
	}
}

func TestATakenPortIsAnErrorIfItShallBe(t *testing.T) {
	address, _ := taken(t)
	s := Server{Name: "metrics", Address: address, HardFail: true}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v", err)
	}
}
