//! Sessions read their own writes and never see time go back, whatever happens to the servers, and whichever
//! process goes on with a session's work: a thousand steps of chance for each of many seeds, in virtual time.

use dbrouter::policy::{LeastInFlight, Policy, Random, Sticky};
use dbrouter::{Cluster, Fault, NodeSpec, Preference, Request, Router, SessionState, Token};

use crate::world::{Mood, Server, World, millis, pass, router, settings};

/// What one session has written and seen.
struct Client {
    process: usize,
    session: SessionState,
    at_least: u64,
}

struct Simulation {
    world: World,
    /// Two routers over the same servers.
    processes: [Cluster<Server>; 2],
    /// The tokens of another cluster.
    foreign: World,
    random: fastrand::Rng,
    stale_without_router: u64,
    reads_on_replicas: u64,
    reads_after_a_token: u64,
}

impl Simulation {
    async fn of<P: Policy>(seed: u64, policy: impl Fn() -> P) -> Self {
        let settings = || settings().policy(policy());
        let world = World::with(settings(), vec![NodeSpec::new(); 3]).await;
        let processes = [world.db.clone(), router(settings(), &world).await];
        let foreign = World::of(0).await;
        foreign.primary.identity(Some("7302"));
        for server in world.replicas.iter().chain([&world.primary]) {
            server.latency(millis(2));
        }
        Self {
            world,
            processes,
            foreign,
            random: fastrand::Rng::with_seed(seed),
            stale_without_router: 0,
            reads_on_replicas: 0,
            reads_after_a_token: 0,
        }
    }

    async fn run(&mut self) {
        let mut clients: Vec<_> = (0..4).map(|_| self.client()).collect();
        self.foreign.write(&self.foreign.db.session());
        for _ in 0..1000 {
            let index = self.random.usize(..clients.len());
            let client = &mut clients[index];
            match self.random.u8(..100) {
                0..20 => self.write(client).await,
                20..85 => drop(self.read(client).await),
                85..88 => clients[index] = self.client(),
                88..92 => self.hand_over(client).await,
                92..98 => self.lag(),
                _ => self.crash().await,
            }
            let pause = self.random.u64(0..20);
            pass(pause).await;
        }
    }

    fn client(&mut self) -> Client {
        let process = self.random.usize(..2);
        Client {
            process,
            session: self.processes[process].session(),
            at_least: 0,
        }
    }

    /// Another session goes on with what the client does, in either process. It is not always told what its
    /// predecessor has seen, but always that there is something.
    async fn hand_over(&mut self, client: &mut Client) {
        let token = self.processes[client.process].token_with_reads(&client.session);
        let Some(token) = token.await else {
            return;
        };
        let token = match self.random.u8(..5) {
            0 => Token::UNPLACED,
            1 => self.foreign_token().await,
            _ => token.to_string().parse().unwrap(),
        };
        client.process = self.random.usize(..2);
        let process = &self.processes[client.process];
        client.session = process.session();
        process.observe(&client.session, &token);
        let route = self.read(client).await;
        self.reads_after_a_token += u64::from(route != "primary");
    }

    async fn foreign_token(&self) -> Token {
        let session = self.foreign.db.session();
        self.foreign.write(&session);
        self.foreign.db.token(&session).await.unwrap()
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
        pass(150).await;
        replica.stand_at(Some(older));
        replica.mood(Mood::Answering);
        pass(self.random.u64(..150)).await;
    }

    async fn write(&mut self, client: &mut Client) {
        let route = self.processes[client.process].route(&Request::write(), &client.session);
        let held = self.random.bool();
        let route = route.map(|route| if held { route.hold_open() } else { route });
        pass(self.random.u64(..5)).await;
        client.at_least = self.world.primary.commit();
        drop(route.unwrap());
    }

    async fn read(&mut self, client: &mut Client) -> String {
        let preference = match self.random.u8(..10) {
            0 => Preference::Nearest,
            1 => Preference::Primary,
            _ => Preference::ReplicaPreferred,
        };
        let request = Request::read().preference(preference);
        let route = self.processes[client.process]
            .route(&request, &client.session)
            .unwrap();
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
        let name = route.node().name().to_string();
        let (seen, reason) = (client.at_least, route.reason());
        assert!(
            shown >= seen,
            "{name} shows {shown}, {seen} was seen before: {reason}"
        );
        client.at_least = shown;
        pass(self.random.u64(..5)).await;
        if self.random.u8(..50) == 0 {
            route.report(Fault::Unavailable, &"reset");
        }
        name
    }
}

#[tokio::test(start_paused = true)]
async fn no_session_ever_sees_time_go_back() {
    let (mut stale, mut replicas, mut after_a_token) = (0, 0, 0);
    for seed in 0..40 {
        let mut simulation = match seed % 2 {
            0 => Simulation::of(seed, || Sticky::new(LeastInFlight::new())).await,
            _ => Simulation::of(seed, || Random::seeded(seed)).await,
        };
        simulation.run().await;
        stale += simulation.stale_without_router;
        replicas += simulation.reads_on_replicas;
        after_a_token += simulation.reads_after_a_token;
    }
    // The simulation is worth something only if there were stale replicas and reads on replicas.
    assert!(
        stale > 500 && replicas > 5000 && after_a_token > 100,
        "{stale} {replicas} {after_a_token}"
    );
}
