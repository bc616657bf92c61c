// Package listwatch serves objects by Kubernetes' list and watch, and nothing else of its API: a stand-in for the API server where
// something is measured, and the real one would be most of what is measured. It keeps every object encoded as it is sent, so that
// thousands of them cost next to nothing each time a client starts.
//
// Objects are sent as they were given: no defaults are set, nothing is validated, and there are no managed fields. Clients need no
// credentials. Whether a client gets along with a real API server is for e2e/apiserver to tell.
package listwatch
