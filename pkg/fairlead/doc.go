// Package fairlead runs Fairlead: it connects the objects of a source, through a proxier for each IP family, to the kernel.
//
// # Embedding
//
// A distribution that is a single program, and runs kube-proxy as a part of it, can run Fairlead the same way: it takes
// [config.Default], sets what its own settings require, and calls [Run], which returns when its context ends. See the example. [Run]
// validates the settings first ([config.Config.Validate]), and returns an error only if it cannot start. It logs later failures and
// recovers from them by itself. It logs to the klog logger of its context ([klog.NewContext]).
//
// The program needs what the command fairlead needs: CAP_NET_ADMIN, CAP_NET_RAW, the network namespace of the host, and the iptables
// programs in PATH. A program that drops its privileges calls [Init] first, which does what needs more than that. [WithChanges] passes
// changed settings to a running Fairlead.
//
// Such a program must not
//
//   - call [Run] twice at a time in a network namespace, or beside the command fairlead: the second one waits until the first one ends;
//   - change a Config after it has passed it on: a change is another Config, passed by [WithChanges];
//   - write to what Fairlead writes, which docs/operation.md lists, or run kube-proxy at the same time;
//   - call [Cleanup] while [Run] runs, or whenever [Run] ends: the rules stay in place so that traffic continues while the program is
//     replaced. [Cleanup] is for nodes that no longer forward;
//   - call [Run] on a thread that is locked to another network namespace: its goroutines run on all threads, so the whole process must be
//     in the namespace.
//
// # Compatibility
//
// Two packages are meant for other programs, and do not change incompatibly within a major version: this one, with everything that it
// exports, and package config, as far as its documentation says. All other packages of this module are parts of Fairlead and may change
// at any time, even if they are not below a folder named internal.
package fairlead
