// Package configuration holds Fairlead's reading of files and flags against the real kube-proxy's: what kube-proxy writes with
// --write-config-to is what it has understood.
package configuration
