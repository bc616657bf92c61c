package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// startDeadline bounds how long the API server may take to get ready, and
// askDeadline an answer of it. It takes seconds; a busy machine with a race
// detector takes more of them, and an emulated one minutes.
const (
	startDeadline = 5 * time.Minute
	askDeadline   = 10 * time.Second
)

// readyPaths answer with 200 once the API server is of use: it serves, and it
// has made the objects that every cluster has.
var readyPaths = []string{"/readyz", "/api/v1/namespaces/default/services/kubernetes"}

// waitReady waits until the API server is ready, and fails as soon as a program
// of the control plane has ended.
func (c *ControlPlane) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	client, err := rest.HTTPClientFor(c.admin)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	defer client.CloseIdleConnections()
	for _, path := range readyPaths {
		if err := c.waitFor(ctx, client, path); err != nil {
			return err
		}
	}
	return nil
}

// waitFor asks for a path until the answer is 200.
func (c *ControlPlane) waitFor(ctx context.Context, client *http.Client, path string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		asked := ask(ctx, client, c.admin.Host+path)
		if asked == nil {
			return nil
		}
		if err := errors.Join(c.etcd.earlyExit(), c.server.earlyExit()); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("API server not ready: %w (%w); its log ends with\n%s", ctx.Err(), asked, c.server.logEnd())
		}
	}
}

// ask returns nil if the answer to a GET of the URL is 200.
func ask(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, askDeadline)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 2000))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return nil
}
