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
		if err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
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

func TestABusyAPIServerIsNamedOnceAndSoIsItsReturn(t *testing.T) {
	type answer struct {
		method, path string
		status       int
		retryAfter   string
	}
	const services, slices = "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"
	tests := []struct {
		name           string
		answers        []answer
		busy, answered int // times that it is logged
	}{
		{"requests that are served", []answer{{"GET", services, 200, ""}, {"GET", slices, 200, ""}}, 0, 0},
		{"429, again and again", []answer{{"GET", services, 429, ""}, {"GET", services, 429, "1"}, {"GET", services, 429, ""}}, 1, 0},
		{"429, and then an answer", []answer{{"GET", services, 429, ""}, {"GET", services, 200, ""}, {"GET", services, 200, ""}}, 1, 1},
		{"two resources, of which one is served again", []answer{{"GET", services, 429, ""}, {"GET", slices, 429, ""}, {"GET", services, 200, ""}}, 1, 0},
		{"both are served again", []answer{{"GET", services, 429, ""}, {"GET", slices, 429, ""}, {"GET", services, 200, ""}, {"GET", slices, 200, ""}}, 1, 1},
		{"twice", []answer{{"GET", services, 429, ""}, {"GET", services, 200, ""}, {"GET", services, 503, "5"}, {"GET", services, 200, ""}}, 2, 2},
		{"an error that is not to be tried again", []answer{{"GET", services, 500, ""}}, 0, 0},
		{"an event, which may never be tried again", []answer{{"POST", "/api/v1/namespaces/default/events", 429, ""}}, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			var next answer
			way := Reach(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log))), roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: next.status, Header: http.Header{"Retry-After": {next.retryAfter}}, Body: http.NoBody}, nil
			}))
			for _, next = range test.answers {
				request, _ := http.NewRequestWithContext(t.Context(), next.method, "https://192.0.2.1:6443"+next.path, http.NoBody)
				if response, _ := way.RoundTrip(request); response != nil {
					response.Body.Close()
				}
			}
			for text, want := range map[string]int{"puts off requests": test.busy, "answers all requests again": test.answered} {
				if got := strings.Count(log.String(), text); got != want {
					t.Errorf("%q is logged %d times, want %d:\n%s", text, got, want, log.String())
				}
			}
		})
	}
}
