package source

import (
	"net/http"
	"sync"

	"k8s.io/klog/v2"
)

// Reach wraps the way to an API server. It logs when the API server cannot be reached and when it can be again, and when it puts off
// requests and when it does not any more, once each. Clients and reflectors keep that to themselves: they only try again.
func Reach(logger klog.Logger, next http.RoundTripper) http.RoundTripper {
	return &reach{logger: logger, next: next, busy: map[string]struct{}{}}
}

type reach struct {
	logger klog.Logger
	next   http.RoundTripper

	mu     sync.Mutex
	broken bool
	busy   map[string]struct{} // paths that have been put off, and not answered since
}

// RoundTrip implements http.RoundTripper.
func (r *reach) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && request.Context().Err() == nil:
		if !r.broken {
			r.logger.Error(err, "Cannot reach the API server; the rules stay as they are, and it will be tried again", "host", request.URL.Host)
		}
		r.broken = true
	case err == nil:
		if r.broken {
			r.logger.Info("The API server is reached again", "host", request.URL.Host)
		}
		r.broken = false
		r.answered(request, response)
	}
	return response, err
}

// answered is called with mu held. Only what is read counts: lists and watches are tried again until they are answered, and their paths
// are few.
func (r *reach) answered(request *http.Request, response *http.Response) {
	if request.Method != http.MethodGet {
		return
	}
	path := request.URL.Path
	if putOff(response) {
		if len(r.busy) == 0 {
			r.logger.Info("The API server has too much to do and puts off requests; the rules stay as they are, and it will be tried again",
				"host", request.URL.Host, "path", path, "status", response.StatusCode)
		}
		r.busy[path] = struct{}{}
		return
	}
	if _, ok := r.busy[path]; !ok {
		return
	}
	delete(r.busy, path)
	if len(r.busy) == 0 {
		r.logger.Info("The API server answers all requests again", "host", request.URL.Host)
	}
}

// putOff reports whether a request was refused only for now. It is what client-go tries again by itself.
func putOff(response *http.Response) bool {
	return response.StatusCode == http.StatusTooManyRequests ||
		response.StatusCode >= http.StatusInternalServerError && response.Header.Get("Retry-After") != ""
}
