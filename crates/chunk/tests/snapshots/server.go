// Package server answers.
package server

import (
	"context"
	"net/http"
)

const limit = 10

// Server answers requests.
type Server struct {
	// Routes by path.
	routes map[string]http.Handler
}

type (
	Handler interface {
		Handle(ctx context.Context) error
	}
	Middleware func(Handler) Handler
)

// New makes a server.
func New() *Server {
	return &Server{routes: map[string]http.Handler{}}
}

// ServeHTTP finds the route.
// It answers 404 where there is none.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := s.routes[r.URL.Path]; ok {
		h.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

func Map[T, U any](items []T, f func(T) U) []U {
	out := make([]U, 0, len(items))
	for _, item := range items {
		out = append(out, f(item))
	}
	return out
}

func init() { println("ready") }
