//! Sessions read their own writes and never see time go back, whatever happens to the servers:
//! a thousand steps of chance for each of many seeds, in virtual time.

use dbrouter::policy::{LeastInFlight, Policy, Random, Sticky};
use dbrouter::{Fault, NodeSpec, Preference, Request, Router, SessionState};

use crate::world::{Mood, Server, World, millis, settings};

/// What one session has written and seen.
struct Client {
    session: SessionState,
    at_least: u64,
}

struct Simulation {
    world: World,
    random: fastrand::Rng,
    stale_without_router: u64,
    reads_on_replicas: u64,
}

impl Simulation {
    async fn of(seed: u64, policy: impl Policy) -> Self {
        let world = World::with(settings().policy(policy), vec![NodeSpec::new(); 3]).await;
        for server in world.replicas.iter().chain([&world.primary]) {
            server.latency(millis(2));
        }
        Self {
            world,
            random: fastrand::Rng::with_seed(seed),
            stale_without_router: 0,
            reads_on_replicas: 0,
        }
    }

    async fn run(&mut self) {
        let mut clients: Vec<_> = (0..4).map(|_| self.client()).collect();
        for _ in 0..1000 {
            let index = self.random.usize(..clients.len());
            let client = &mut clients[index];
            match self.random.u8(..100) {
                0..20 => self.write(client).await,
                20..85 => self.read(client).await,
                85..88 => clients[index] = self.client(),
                88..97 => self.lag(),
                _ => self.crash().await,
            }
            let pause = self.random.u64(0..20);
            crate::world::pass(pause).await;
        }
    }

    fn client(&self) -> Client {
        Client {
            session: self.world.db.session(),
            at_least: 0,
        }
    }

    fn replica(&mut self) -> Server {
        self.world.replicas[self.random.usize(..3)].clone()
    }

    fn lag(&mut self) {
        let replica = self.replica();
        match self.random.bool() {
            true => replica.pause(),
            false => replica.resume(),
        }
    }

    /// A standby dies, and comes back with an older state than it has shown.
    async fn crash(&mut self) {
        let replica = self.replica();
        let older = replica.shows() - 100 * self.random.u64(..=3).min(replica.shows() / 200);
        replica.mood(Mood::Refusing);
        crate::world::pass(150).await;
        replica.stand_at(Some(older));
        replica.mood(Mood::Answering);
        crate::world::pass(self.random.u64(..150)).await;
    }

    async fn write(&mut self, client: &mut Client) {
        let route = self.world.db.route(&Request::write(), &client.session);
        let held = self.random.bool();
        let route = route.map(|route| if held { route.hold_open() } else { route });
        crate::world::pass(self.random.u64(..5)).await;
        client.at_least = self.world.primary.commit();
        drop(route.unwrap());
    }

    async fn read(&mut self, client: &mut Client) {
        let preference = match self.random.u8(..10) {
            0 => Preference::Nearest,
            1 => Preference::Primary,
            _ => Preference::ReplicaPreferred,
        };
        let request = Request::read().preference(preference);
        let route = self.world.db.route(&request, &client.session).unwrap();
        let shown = match route.node().backend() {
            server
                if self
                    .world
                    .replicas
                    .iter()
                    .all(|replica| replica.shows() < client.at_least) =>
            {
                self.stale_without_router += 1;
                server.shows()
            }
            server => server.shows(),
        };
        self.reads_on_replicas += u64::from(&**route.node().name() != "primary");
        let name = route.node().name();
        let (seen, reason) = (client.at_least, route.reason());
        assert!(
            shown >= seen,
            "{name} shows {shown}, {seen} was seen before: {reason}"
        );
        client.at_least = shown;
        crate::world::pass(self.random.u64(..5)).await;
        if self.random.u8(..50) == 0 {
            route.report(Fault::Unavailable, &"reset");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_session_ever_sees_time_go_back() {
    let (mut stale, mut replicas) = (0, 0);
    for seed in 0..40 {
        let mut simulation = match seed % 2 {
            0 => Simulation::of(seed, Sticky::new(LeastInFlight::new())).await,
            _ => Simulation::of(seed, Random::seeded(seed)).await,
        };
        simulation.run().await;
        stale += simulation.stale_without_router;
        replicas += simulation.reads_on_replicas;
    }
    // The simulation is worth something only if there were stale replicas and reads on replicas.
    assert!(stale > 500 && replicas > 5000, "{stale} {replicas}");
}
