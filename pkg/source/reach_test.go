package source

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"k8s.io/klog/v2/textlogger"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnUnreachableAPIServerIsNamedOnceAndSoIsItsReturn(t *testing.T) {
	var log bytes.Buffer
	var err error
	way := Reach(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log))), roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, err
	}))
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://192.0.2.1:6443/api", http.NoBody)
	for _, err = range []error{nil, errors.New("refused"), errors.New("refused"), errors.New("timed out"), nil, nil, errors.New("refused")} {
		if response, _ := way.RoundTrip(request); response != nil {
			response.Body.Close()
		}
	}
	for text, want := range map[string]int{"Cannot reach the API server": 2, "192.0.2.1:6443": 3, "is reached again": 1} {
		if got := strings.Count(log.String(), text); got != want {
			t.Errorf("%q is said %d times, want %d:\n%s", text, got, want, log.String())
		}
	}
}
