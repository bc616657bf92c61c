// Package fairlead puts the parts together: objects from a source, through a proxier for each IP family, into the kernel.
//
// # For programs that embed it
//
// A distribution that is one program, and runs kube-proxy as a part of that, runs Fairlead the same way: it takes [config.Default], sets
// what its own settings say, and calls [Run] with a context, which returns when that ends. The example shows all of it. [Run] checks the
// settings first ([config.Config.Validate]), and returns an error only where it cannot start. What goes wrong later it logs, and gets
// over. It logs through klog, to the logger that its context has ([klog.NewContext]), if any.
//
// The program needs what the command fairlead needs: CAP_NET_ADMIN, CAP_NET_RAW, the network namespace of the host, and the programs of
// iptables in PATH. [Init] does beforehand what takes more than that, for a program that gives up its privileges; one that keeps them need
// not call it. [WithChanges] hands over settings that change while it runs.
//
// What such a program must not do:
//
//   - call [Run] twice at a time for one network namespace, or beside the command fairlead: the second waits until the first has ended;
//   - change a Config after it has been handed over: a change is another Config, by way of [WithChanges];
//   - write to what Fairlead writes, which docs/operation.md lists, or run a kube-proxy beside it;
//   - call [Cleanup] while [Run] runs, or when it ends: rules stay, so that traffic goes on while the program is replaced. [Cleanup] is for
//     a node that is to forward no more;
//   - lock a thread in another network namespace and call [Run] in it: its goroutines run in all threads, so the whole process has to be
//     in the namespace.
package fairlead
