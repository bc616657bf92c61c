// Package bench holds Fairlead's rules against kube-proxy's on one machine and in one run: how long they take to load, and
// how long a connection takes to find its way through them. Absolute times on a shared machine are noise; ratios are not.
package bench
