// Package fairlead puts the parts together: objects from a source, through a proxier for each IP family, into the kernel.
package fairlead
