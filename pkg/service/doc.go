// Package service turns Services and EndpointSlices into a Table: for one IP family, every address and port that the node
// answers on, and the endpoints each of them may send to. All policy of the Service contract is decided here, and nowhere
// else; a backend only writes what a Table says.
//
// A Builder makes Tables from API objects, incrementally. Table.Route is the oracle beside it: it reads a Table naively and
// says what must become of a packet. Every backend is tested against it.
package service
