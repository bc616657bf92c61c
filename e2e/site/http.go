package site

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/fairlead/fairlead/e2e/lab"
)

// The ports of Fairlead's own servers.
const (
	HealthzPort = 10256
	MetricsPort = 10249
)

// Get asks one of Fairlead's own servers, on the node itself.
func (s *Site) Get(port int, path string) (status int, body string, err error) {
	s.t.Helper()
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return s.Node().DialContext(ctx, network, address)
			},
		},
		Timeout: lab.AnswerTimeout,
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// Serves waits until one of Fairlead's own servers answers with a status and with all of the words.
func (s *Site) Serves(port int, path string, status int, words ...string) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("port %d, %s: status %d with %q", port, path, status, words), func() error {
		got, body, err := s.Get(port, path)
		if err != nil {
			return err
		}
		if got != status {
			return fmt.Errorf("status %d: %s", got, body)
		}
		for _, word := range words {
			if !strings.Contains(body, word) {
				return fmt.Errorf("no %q in %s", word, body)
			}
		}
		return nil
	})
}
