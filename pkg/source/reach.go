package source

import (
	"net/http"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// Reach wraps the way to an API server, and logs when it breaks and when it is back, once each. Reflectors keep an
// unreachable server to themselves: they only try again.
func Reach(logger klog.Logger, next http.RoundTripper) http.RoundTripper {
	return &reach{logger: logger, next: next}
}

type reach struct {
	logger klog.Logger
	next   http.RoundTripper
	broken atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (r *reach) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	switch {
	case err != nil && request.Context().Err() == nil:
		if !r.broken.Swap(true) {
			r.logger.Error(err, "Cannot reach the API server; the rules stay as they are, and it will be tried again", "host", request.URL.Host)
		}
	case err == nil:
		if r.broken.Swap(false) {
			r.logger.Info("The API server is reached again", "host", request.URL.Host)
		}
	}
	return response, err
}
